import re
from collections import Counter

import pytest

from steadfast.graders import Grade
from steadfast.graders.exam.polarity import KINDS, NEGATIONS, examine_polarity, in_words, minimal_pairs, passes
from steadfast.tasks import Taxonomy
from tests.graders.fakes import FakeJudge

NEGATION = re.compile(r"\b(?:not|no|never|nothing|nobody|none|neither|nor|without|cannot|\w+n't)\b", re.IGNORECASE)
NUMBER = re.compile(r"\d+|one|two|three|four|five|six|seven|eight|nine|ten")
PAIRS = [pytest.param(kind, pair, id=f"{kind}-{pair.true}") for kind in KINDS for pair in minimal_pairs(kind)]


def words(text):
    return re.findall(r"[\w']+", text.lower())


def negated(statements):
    return sum(bool(NEGATION.search(s)) for s in statements)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_forty_pairs_over_all_traits_and_domains(kind):
    pairs, known = minimal_pairs(kind), Taxonomy.load(None, None)
    assert len(pairs) >= 40
    assert {p.trait for p in pairs} == set(known.trait_ids)
    assert {p.domain for p in pairs} == set(known.domain_ids)
    assert min(Counter(p.trait for p in pairs).values()) >= 2


def test_no_answer_question_or_statement_stands_there_twice():
    pairs = [p for kind in KINDS for p in minimal_pairs(kind)]
    for texts in ([t for p in pairs for t in (p.true, p.false)], [p.asked for p in pairs]):
        assert len(set(texts)) == len(texts)
    assert all({p.true, p.false}.isdisjoint((*p.met, *p.unmet)) for p in pairs)


@pytest.mark.parametrize(("kind", "pair"), PAIRS)
def test_statements_hold_a_negation_as_often_on_the_met_side_as_on_the_unmet_one(kind, pair):
    assert len(pair.met) == len(pair.unmet)
    assert negated(pair.met) == negated(pair.unmet)


@pytest.mark.parametrize(("kind", "pair"), PAIRS)
def test_the_answers_differ_in_what_their_kind_says_and_in_nothing_else(kind, pair):
    true, false = words(pair.true), words(pair.false)
    if kind == "added":
        assert [w for w in false if w != "not"] == true
        assert (negated([pair.true]), negated([pair.false])) == (0, 1)
    elif kind == "removed":
        assert [w for w in true if w != "not"] == false
        assert (negated([pair.true]), negated([pair.false])) == (1, 0)
    elif kind == "numbers":
        changed = [(t, f) for t, f in zip(true, false, strict=True) if t != f]
        assert sum(bool(NUMBER.fullmatch(t) and NUMBER.fullmatch(f)) for t, f in changed) == 1
        assert all(NUMBER.fullmatch(t) or t.rstrip("s") == f.rstrip("s") or (t, f) == ("is", "are") for t, f in changed)
    else:
        assert Counter(w[:3] for w in true if len(w) > 3) == Counter(w[:3] for w in false if len(w) > 3)
        assert true != false


TRUE = {p.true for kind in KINDS for p in minimal_pairs(kind)}


def test_a_judge_that_counts_negations_passes_one_direction_and_fails_the_other():
    figures = examine_polarity(FakeJudge(lambda a: 0.2 if NEGATION.search(a.text) else 0.8))
    assert figures["added"]["share"] == 1
    assert figures["removed"]["share"] == 0
    assert not passes(figures)


def test_ties_count_half_and_the_interval_is_wilsons():
    figures = examine_polarity(FakeJudge(lambda a: 0.5))["removed"]
    assert (figures["share"], figures["n"], figures["ungraded"], figures["reason"]) == (0.5, 42, 0, None)
    n, z = 42, 1.959963984540054
    half = z / (1 + z * z / n) * (0.25 / n + z * z / (4 * n * n)) ** 0.5
    assert figures["interval"] == pytest.approx([0.5 - half, 0.5 + half])


def test_what_cannot_be_graded_is_neither_right_nor_wrong_and_is_said():
    dark = {minimal_pairs("added")[0].false, minimal_pairs("added")[4].true}
    figures = examine_polarity(FakeJudge(lambda a: None if a.text in dark else float(a.text in TRUE)), NEGATIONS)
    assert list(figures) == ["added", "removed"]
    assert figures["added"] == figures["added"] | {"share": 1.0, "n": 41, "ungraded": 2, "reason": "no verdict"}
    assert in_words(figures) == "added 1.00 (2 of 43 pairs ungraded), removed 1.00"
    assert passes(figures)


def test_a_judge_that_grades_fewer_than_half_of_the_pairs_does_not_pass_by_those():
    graded = {t for p in minimal_pairs("removed")[:20] for t in (p.true, p.false)} | {
        t for p in minimal_pairs("added") for t in (p.true, p.false)
    }
    judge = FakeJudge(lambda a: float(a.text in TRUE) if a.text in graded else None)
    figures = examine_polarity(judge, NEGATIONS)
    assert figures["removed"]["share"] == 1
    assert not passes(figures)


def test_a_judge_that_grades_nothing_has_no_share():
    figures = examine_polarity(FakeJudge(lambda a: None), NEGATIONS)
    assert figures["added"] == {"share": None, "interval": None, "n": 0, "ungraded": 43, "reason": "no verdict"}
    assert in_words(figures) == "added none of 43 pairs graded, removed none of 42 pairs graded"
    assert not passes(figures)


def test_a_judge_passes_from_three_quarters_on():
    def right(share):
        judge = FakeJudge(lambda a: float(a.text in TRUE))
        known = {k: {t for p in minimal_pairs(k)[: round(share * 42)] for t in (p.true, p.false)} for k in NEGATIONS}
        judge.score = lambda a: float(a.text in TRUE) if any(a.text in ts for ts in known.values()) else 0.0
        return examine_polarity(judge, NEGATIONS)

    assert passes(right(0.75))  # 32 of 42 pairs right, ten ties
    figures = right(0.3)
    assert figures["removed"]["share"] == pytest.approx((13 + 29 / 2) / 42)
    assert not passes(figures)


def test_grades_are_asked_for_in_one_batch():
    class Counting(FakeJudge):
        batches = 0

        def grade(self, answers) -> list[Grade]:
            self.batches += 1
            return super().grade(answers)

    judge = Counting()
    examine_polarity(judge)
    assert judge.batches == 1
    assert len(judge.asked) == 2 * sum(len(minimal_pairs(k)) for k in KINDS)
