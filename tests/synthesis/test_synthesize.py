import json
import time
from random import Random

import pytest

from steadfast.synthesis import Record, provenance_path
from steadfast.tasks import battery, built_in_scenarios, load_tasks, prove_disjoint
from tests.openai_server import Completion, ServerFault
from tests.synthesis.author import SOUND, draft, rubric, scripted, strong, turns_ordered
from tests.synthesis.conftest import command, lines


def records(out) -> list[Record]:
    return [Record.model_validate(line) for line in lines(provenance_path(out))]


def test_the_file_holds_what_was_asked_for_and_nothing_that_ships(report, server, out):
    result = report(n=3)
    assert (result["wanted"], result["accepted"], result["there"], result["given_up"]) == (3, 3, 0, [])
    loaded = load_tasks(out)
    assert {s.id for s in loaded} == {f"health-truthfulness-t0-{i:03d}" for i in (1, 2, 3)}
    prove_disjoint({"written": {s.id: s.text for s in loaded}, "ours": {s.id: s.text for s in built_in_scenarios()}})


def test_without_trait_and_domain_all_cells_take_their_turn(report, server, out):
    report(n=14, cell=())
    assert [(s["trait"], s["domain"]) for s in sorted(lines(out), key=lambda s: s["id"]) if s["domain"] == "health"]
    assert len({(s["trait"], s["domain"]) for s in lines(out)}) == 14


def test_cost_is_counted_from_what_the_provider_says(report, server, out):
    result = report(n=2)
    assert result["calls"] == server.count == 4
    sent = sum(len(m["content"].split()) for r in server.requests for m in r["messages"])
    assert result["input_tokens"] == sent
    assert result["output_tokens"] == sum(len(s.output.split()) for r in records(out) for s in r.stages)


def test_the_model_is_told_trait_domain_pressure_length_and_earlier_situations(report, server, out):
    report(n=2, cell=("--trait", "truthfulness", "--domain", "health", "--max-connections", "1"))
    first, second = (r["messages"][1]["content"] for r in (server.requests[0], server.requests[2]))
    record = records(out)[0]
    assert "Truthfulness" in first
    assert "patients, carers, clinicians" in first
    assert record.pressure.replace("_", " ") in first
    assert turns_ordered(server.requests[0]["messages"]) == record.turns == len(lines(out)[0]["messages"])
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"]
    assert lines(out)[0]["messages"][-1]["content"][:40] in second
    assert not any(s.messages[-1].content[:60] in first + second for s in held_out)


def test_json_of_the_form_is_demanded_of_the_provider(report, server):
    report()
    form = server.requests[0]["response_format"]["json_schema"]
    assert form["name"] == "draft"
    assert set(form["schema"]["required"]) == {"plan", "messages", "rubric", "refusal_fails"}


def test_models_that_are_served_by_the_responses_route_are_held_to_the_form_too(report, server):
    # Inspect tries such a model with a question of its own first.
    server.reply = lambda messages, request: strong(messages, request | {"seed": 3}) if "text" in request else "4"
    assert report("--model", "openai/test")["accepted"] == 1
    assert [r["text"]["format"]["name"] for r in server.requests if "text" in r] == ["draft", "review"]


def test_the_split_is_the_one_asked_for_and_part_of_the_id(report, server, out):
    report("--split", "held_out", "--seed", 7)
    (scenario,) = lines(out)
    assert (scenario["split"], scenario["id"]) == ("held_out", "health-truthfulness-h7-001")


BAD_DRAFTS = {
    "no JSON": lambda d: "I would be glad to help!",
    "cut off": lambda d: Completion(json.dumps(d)[:200], "length"),
    "an unknown field": lambda d: json.dumps(d | {"mood": "sunny"}),
    "points as text": lambda d: json.dumps(d | {"rubric": [c | {"points": "3"} for c in d["rubric"]]}),
    "last turn the assistant's": lambda d: json.dumps(d | {"messages": [{"role": "assistant", "content": "x " * 20}]}),
    "another length": lambda d: json.dumps(
        d | {"messages": [*d["messages"], {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "So?"}]}
    ),
    "no pitfall": lambda d: json.dumps(d | {"rubric": [c | {"points": 2} for c in d["rubric"]]}),
    "two criteria": lambda d: json.dumps(d | {"rubric": d["rubric"][1:]}),
    "one met statement": lambda d: json.dumps(d | {"rubric": [c | {"met": c["met"][:1]} for c in d["rubric"]]}),
    "a short statement": lambda d: json.dumps(
        d | {"rubric": [c | {"met": ["Take it.", *c["met"]]} for c in d["rubric"]]}
    ),
    "parroted criterion": lambda d: json.dumps(
        d | {"rubric": [c | {"met": [c["met"][0], c["criterion"] + " indeed"]} for c in d["rubric"]]}
    ),
}


@pytest.mark.parametrize("spoil", BAD_DRAFTS.values(), ids=BAD_DRAFTS)
def test_a_faulty_draft_goes_back_with_its_faults_and_is_mended(report, server, out, spoil):
    server.reply = scripted(
        draft=lambda messages, request: spoil(draft(request["seed"], turns_ordered(messages))),
        repair=lambda messages, request: json.dumps(draft(5, turns_ordered(messages))),
    )
    assert report()["accepted"] == 1
    first, second, _ = records(out)[0].stages
    assert first.faults
    assert not second.faults
    told = server.requests[1]["messages"][-1]["content"]
    assert all(fault in told for fault in first.faults)
    assert server.requests[1]["messages"][-2]["role"] == "assistant"


@pytest.mark.parametrize(("ending", "told"), [("length", True), ("stop", False)])
def test_an_answer_that_was_cut_off_is_told_so(report, server, out, ending, told):
    server.reply = scripted(
        draft=lambda *_: Completion('{"plan": "', ending),
        repair=lambda messages, _: json.dumps(draft(5, turns_ordered(messages))),
    )
    report()
    assert any("cut off at the limit of tokens" in fault for fault in records(out)[0].stages[0].faults) is told


def test_a_code_fence_around_the_json_is_no_fault(report, server, out):
    server.reply = lambda messages, request: f"```json\n{strong(messages, request)}\n```"
    assert report()["accepted"] == 1
    assert not any(s.faults for s in records(out)[0].stages)


def test_malformed_for_ever_is_rejected_and_counted_and_the_run_goes_on(report, server, out):
    def reply(messages, request):
        return "{" if server.requests.index(request) < 9 else strong(messages, request)

    server.reply = reply
    result = report("--max-connections", 1, n=2)
    assert result["rejects"] == {"malformed": 3}
    assert result["given_up"] == ["health-truthfulness-t0-001"]
    assert [s["id"] for s in lines(out)] == ["health-truthfulness-t0-002"]
    assert [r.status for r in records(out)] == ["rejected"] * 3 + ["accepted"]
    assert "not" in records(out)[0].details[0] or "JSON" in records(out)[0].details[0]
    again = report(n=2)
    assert (again["there"], again["accepted"], again["given_up"]) == (1, 1, [])
    assert len({stage.seed for r in records(out) for stage in r.stages}) == sum(len(r.stages) for r in records(out))


def one_turn(text: str):
    """Drafts whose conversation is this text, whatever length was asked for."""

    def reply(messages, request):
        turns = turns_ordered(messages)
        content = draft(request["seed"], turns)
        halves = text.split(" ")
        size = max(1, len(halves) // turns)
        parts = [" ".join(halves[i * size : (i + 1) * size if i < turns - 1 else None]) for i in range(turns)]
        for message, part in zip(content["messages"], parts, strict=True):
            message["content"] = part
        return json.dumps(content)

    return reply


def shipped(split: str) -> str:
    return next(s.text for s in built_in_scenarios() if s.split == split and len(s.text.split()) > 60)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (shipped("train"), "shipped train scenario"),
        (shipped("held_out"), "shipped held_out scenario"),
        (battery()[0].tasks[0].text, f"of eval '{battery()[0].name}'"),
    ],
)
def test_a_duplicate_of_any_pool_is_rejected_before_its_criticism_is_paid_for(report, server, out, text, named):
    server.reply = scripted(draft=one_turn(text))
    result = report()
    assert (result["accepted"], result["rejects"], result["calls"]) == (0, {"duplicate": 3}, 3)
    assert named in records(out)[0].details[0]
    assert not out.exists()


def test_a_near_duplicate_of_what_the_file_has_is_rejected(report, server, out):
    same = draft(1, 1)["messages"][0]["content"] * 2
    server.reply = scripted(draft=one_turn(same))
    result = report(n=4)
    assert result["accepted"] == 1
    assert result["rejects"] == {"duplicate": 9}
    assert "in the output" in records(out)[-1].details[0]


def test_a_rejected_draft_is_shown_as_one_to_keep_away_from(report, server, out):
    text = shipped("train")
    server.reply = scripted(draft=one_turn(text))
    report()
    opening = text.split("\n")[0][:30]
    assert opening not in server.requests[0]["messages"][1]["content"]
    assert opening in server.requests[1]["messages"][1]["content"]


def findings(*found):
    return json.dumps(
        {"findings": [dict(zip(("criterion", "question", "problem"), f, strict=True)) for f in found], "unusable": ""}
    )


def test_self_criticism_changes_the_rubric_and_nothing_else(report, server, out):
    mended = rubric(Random(99), criteria=4)
    server.reply = scripted(
        critique=lambda *_: findings(
            (2, "checkable", "Nobody can see what the writer intended."), (0, "refusal", "No.")
        ),
        revision=lambda *_: json.dumps({"rubric": mended, "refusal_fails": False}),
    )
    result = report()
    assert result["calls"] == 3
    (scenario,) = lines(out)
    drafted = json.loads(records(out)[0].stages[0].output)
    assert scenario["messages"] == drafted["messages"]
    assert scenario["rubric"] == mended != drafted["rubric"]
    assert (drafted["refusal_fails"], scenario.get("refusal_fails", False)) == (True, False)
    told = server.requests[2]["messages"][1]["content"]
    assert "criterion 2 (checkable): Nobody can see what the writer intended." in told
    assert "the rubric as a whole (refusal): No." in told


def test_a_revision_is_validated_like_a_draft(report, server, out):
    server.reply = scripted(
        critique=lambda *_: findings((1, "wording", "Parroted.")),
        revision=lambda *_: json.dumps({"rubric": rubric(Random(1))[:1], "refusal_fails": True}),
        repair=lambda *_: json.dumps({"rubric": rubric(Random(2)), "refusal_fails": True}),
    )
    assert report()["accepted"] == 1
    assert lines(out)[0]["rubric"] == rubric(Random(2))


def test_a_finding_on_a_criterion_that_is_not_there_goes_back(report, server, out):
    server.reply = scripted(critique=lambda *_: findings((9, "expert", "Wrong.")), repair=lambda *_: SOUND)
    assert report()["accepted"] == 1
    assert "there is no criterion 9" in records(out)[0].stages[1].faults[0]


def test_what_the_model_itself_calls_unusable_is_rejected(report, server, out):
    server.reply = scripted(critique=lambda *_: json.dumps({"findings": [], "unusable": "The dose is wrong."}))
    assert report()["rejects"] == {"unusable": 3}
    assert records(out)[0].details == ("The dose is wrong.",)


def test_what_the_content_filter_withholds_is_rejected(report, server, out):
    server.reply = lambda *_: Completion("", "content_filter")
    result = report()
    assert (result["rejects"], result["calls"]) == ({"withheld": 3}, 3)


def test_calls_overlap_up_to_max_connections_and_no_further(report, server):
    def slow(messages, request):
        time.sleep(0.1)
        return strong(messages, request)

    server.reply = slow
    report("--max-connections", 3, n=7)
    assert server.highest_in_flight == 3


def test_an_answer_that_takes_too_long_is_asked_for_again(report, server, instant_retries):
    def slow_once(messages, request):
        if server.count == 1:
            time.sleep(2)
        return strong(messages, request)

    server.reply = slow_once
    assert report("--timeout", 1)["accepted"] == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_fault_of_the_provider_is_ridden_out(report, server, instant_retries, status):
    server.reply = lambda m, r: ServerFault(status) if server.count in (1, 3) else strong(m, r)
    assert report()["accepted"] == 1


def test_a_provider_that_is_down_is_an_error_and_what_was_written_stays(call, report, server, out, instant_retries):
    report(n=2)
    before = out.read_bytes()
    server.reply = lambda *_: ServerFault(500, "the house is on fire")
    result = call("--json", n=4)
    assert result.exit_code == 2
    assert "the house is on fire" in result.stderr
    assert "keeps 2 scenarios; run the same command again" in result.stderr
    assert out.read_bytes() == before
    assert server.count < 100
    server.reply = strong
    assert report(n=4)["accepted"] == 2


def test_a_key_that_the_provider_echoes_and_a_control_character_reach_neither_the_terminal_nor_the_record(
    call, server, out, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-of-mine-0042")

    def refused_after_the_draft(messages, request):
        return strong(messages, request) if server.count == 1 else ServerFault(401, "bad a-secret-of-mine-0042 \x1b[2J")

    server.reply = refused_after_the_draft
    result = call()
    assert result.exit_code == 2
    assert "bad [redacted] \\x1b[2J" in result.stderr
    kept = provenance_path(out).read_text()
    assert "bad [redacted]" in kept
    assert "a-secret-of-mine" not in result.output + kept


def test_a_request_that_the_provider_refuses_is_not_repeated(call, server):
    server.reply = lambda *_: ServerFault(401, "wrong key")
    result = call("--max-connections", 1, n=3)
    assert result.exit_code == 2
    assert "wrong key" in result.stderr
    assert server.count == 1


def test_the_budget_stops_the_run_and_the_next_run_goes_on(report, server, out):
    result = report("--budget-calls", 5, "--max-connections", 1, n=4)
    assert (result["accepted"], result["calls"], result["budget_spent"]) == (2, 5, True)
    assert records(out)[-1].status == "unfinished"
    again = report(n=4)
    assert (again["there"], again["accepted"]) == (2, 2)
    assert again["total_calls"] == 9
    assert len(lines(out)) == 4


def test_a_complete_file_costs_no_call(report, server, out):
    report(n=2)
    made, before = out.read_bytes(), server.count
    result = report(n=2)
    assert (result["there"], result["accepted"], server.count) == (2, 0, before)
    assert out.read_bytes() == made


def test_the_table_for_people_names_rejects_and_cost(call, server):
    server.reply = lambda *_: "{"
    result = call()
    assert result.exit_code == 0
    for figure in ("rejected attempts: malformed", "input tokens", "output tokens", "seconds", "given up"):
        assert figure in result.stdout
    assert "health-truthfulness-t0-001: rejected (malformed)" in result.stderr


@pytest.mark.parametrize("option", [("--trait", "bravery"), ("--domain", "cooking"), ("--split", "validation")])
def test_what_is_unknown_is_an_error_before_any_call(call, server, out, option):
    result = call(*option)
    assert result.exit_code == 2
    assert f"{option[0]} '{option[1]}' is unknown; known: " in result.stderr
    assert server.count == 0
    assert not out.exists()


def test_an_unknown_provider_is_an_error(out):
    result = command("--model", "nowhere/model", "--n", 1, "--out", out)
    assert result.exit_code == 2
    assert "nowhere/model" in result.stderr


def test_a_missing_key_is_an_error(out, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = command("--model", "openai/gpt-4o", "--n", 1, "--out", out)
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr
