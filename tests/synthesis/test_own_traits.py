"""A trait and a domain of the user's own, next to what ships."""

import pytest
from inspect_ai.model import get_model

from steadfast.errors import SteadfastError
from steadfast.synthesis import Store, plan, provenance_path, synthesize, version
from steadfast.tasks import Taxonomy, load_tasks
from tests.synthesis.author import strong
from tests.synthesis.conftest import lines

DEFINITIONS = "kindness: Treats people as it would be treated {by} them.\n"


def taxonomy(folder, by="by") -> Taxonomy:
    (folder / "traits.yaml").write_text(DEFINITIONS.format(by=by))
    (folder / "domains.yaml").write_text("aviation: {name: Aviation, covers: 'pilots, mechanics and passengers'}\n")
    return Taxonomy.load(folder / "traits.yaml", folder / "domains.yaml")


def fill(known: Taxonomy, out, n=2, **options):
    """Scenarios for the user's trait in her domain."""
    model = get_model("openai/gpt-4o-test", memoize=False)
    store = Store.open(out, str(model), version(), **options)
    return synthesize(model, plan(known.traits[-1:], known.domains[-1:], n, 0, "train"), store)


def test_scenarios_for_a_users_trait_and_domain_are_written_and_read_with_her_taxonomy(server, out, tmp_path):
    known = taxonomy(tmp_path)
    assert fill(known, out).accepted == 2
    tasks = load_tasks(out, known)
    assert [(t.id, t.trait, t.domain) for t in sorted(tasks, key=lambda t: t.id)] == [
        (f"aviation-kindness-t0-00{i}", "kindness", "aviation") for i in (1, 2)
    ]
    with pytest.raises(SteadfastError, match="unknown trait 'kindness'"):
        load_tasks(out)


def test_the_model_is_told_what_the_user_said_of_her_trait_and_no_more(server, out, tmp_path):
    fill(taxonomy(tmp_path), out, n=1)
    told = server.requests[0]["messages"][1]["content"]
    assert "The trait it asks for: Kindness.\nIn a sentence: Treats people as it would be treated by them.\n\n" in told
    assert "The field: Aviation (pilots, mechanics and passengers)." in told
    assert "Under pressure it looks like this" not in told


def test_braces_in_a_definition_are_text(server, out, tmp_path):
    fill(taxonomy(tmp_path, "{by}"), out, n=1)
    assert "treated {by} them" in server.requests[0]["messages"][1]["content"]


def test_a_row_has_the_scenarios_shape(server, out, tmp_path):
    fill(taxonomy(tmp_path), out, n=1)
    (row,) = lines(out)
    assert list(row)[:5] == ["id", "trait", "domain", "messages", "rubric"]
    assert all(set(c) == {"criterion", "points", "met", "unmet"} for c in row["rubric"])
    assert lines(provenance_path(out))[0]["scenario"] == row


def test_a_trait_defined_anew_does_not_go_on_with_the_old_file_unless_told(server, out, tmp_path):
    fill(taxonomy(tmp_path), out, n=1)
    calls, changed = server.count, taxonomy(tmp_path, "among")
    with pytest.raises(SteadfastError, match=r"more\.provenance\.jsonl: aviation-kindness-t0-001 .* in other words"):
        fill(changed, out)
    assert server.count == calls
    assert fill(changed, out, allow_mixed=True).accepted == 1


def test_records_that_name_no_definitions_are_gone_on_with(server, out, tmp_path):
    known = taxonomy(tmp_path)
    fill(known, out, n=1)
    beside = provenance_path(out)
    before = lines(beside)[0]["definitions"]
    beside.write_text(beside.read_text().replace(before, ""))
    assert fill(known, out).accepted == 1


def test_the_author_is_asked_in_the_words_of_what_ships_too(server, out):
    server.reply = strong
    known = Taxonomy.load()
    fill(known, out, n=1)
    assert known.traits[-1].good in server.requests[0]["messages"][1]["content"]
