import json

import numpy as np
import pytest
from inspect_ai.model import get_model

from steadfast.synthesis import Pool, Store, plan, synthesize, version
from steadfast.synthesis.duplicates import remembered
from steadfast.tasks import domains, traits
from tests.synthesis.author import draft, scripted, turns_ordered
from tests.synthesis.conftest import server  # noqa: F401

TEXT = "My mother takes warfarin every evening and the corner shop only sells ibuprofen for her sore knee tonight."


def by_first_word(texts):
    """An embedding that sees nothing but the first word."""
    rows = np.zeros((len(texts), 64), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[sum(text.split()[0].encode()) % 64] = 1.0
    return rows


def test_the_same_text_in_other_letters_is_a_twin():
    assert Pool({"a": TEXT}, None).twins(TEXT.upper()) == ["the same text as a"]


def test_swapped_words_still_make_a_twin():
    (found,) = Pool({"a": TEXT}, None).twins(TEXT.replace("mother", "uncle"))
    assert found.endswith("of its word trigrams with a")


def test_the_same_situation_in_other_words_is_a_twin_by_embedding_alone():
    other = "My aunt is on blood thinners and asks about painkillers after gardening the whole of Saturday."
    assert Pool({"a": TEXT}, None).twins(other) == []
    assert Pool({"a": TEXT}, by_first_word).twins(other) == ["has an embedding cosine of 1.00 with a"]


@pytest.mark.parametrize("embed", [None, by_first_word])
def test_what_is_added_counts_and_what_was_compared_before_is_left_out(embed):
    pool = Pool({}, embed)
    assert pool.twins(TEXT) == []
    pool.add({"a": TEXT})
    assert len(pool.twins(TEXT)) == 1
    assert pool.twins(TEXT, since=1) == []
    pool.add({"b": TEXT})
    assert pool.twins(TEXT, since=1) == ["the same text as b"]


def test_embeddings_of_many_texts_are_made_once_and_others_for_other_texts(tmp_path):
    batches = []

    def counted(texts):
        batches.append(len(texts))
        return by_first_word(texts)

    texts = [f"word{i} and more" for i in range(600)]
    first = remembered(counted, tmp_path)(texts)
    again = remembered(counted, tmp_path)(texts)
    assert batches == [600]
    assert np.array_equal(first, again)
    assert np.array_equal(remembered(counted, tmp_path)(texts[::-1]), first[::-1])
    remembered(counted, tmp_path)(texts[:1])
    assert batches == [600, 600, 1]


def test_a_scenario_near_by_embedding_is_rejected_by_the_run(server, tmp_path):  # noqa: F811
    def same_opening(messages, request):
        content = draft(request["seed"], turns_ordered(messages))
        content["messages"][0]["content"] = "zzzzunheard " + content["messages"][0]["content"]
        return json.dumps(content)

    server.reply = scripted(draft=same_opening)
    model = get_model("openai/gpt-4o-test", memoize=False)
    store = Store.open(tmp_path / "out.jsonl", str(model), version())

    def embed(texts):
        rows = np.zeros((len(texts), 2), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[int(text.startswith("zzzzunheard"))] = 1.0
        return rows

    report = synthesize(model, plan(traits()[:1], domains()[:1], 2, 0, "train"), store, embed=embed)
    assert (report.accepted, report.rejects, report.embeddings) == (1, {"duplicate": 3}, True)
    assert "embedding cosine of 1.00 with" in store.records[-1].details[0]
