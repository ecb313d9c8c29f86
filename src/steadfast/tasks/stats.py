"""What a corpus holds, how much of it resembles the rest, and the resemblances it may not have."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from steadfast.tasks.nearest import Embed, Pair, nearest_pairs
from steadfast.tasks.scenario import GoldPair, Scenario
from steadfast.tasks.traits import domains, traits
from steadfast.tasks.vocabulary import content_words, shared_vocabulary

MAX_COSINE = 0.9
"""Two conversations whose embeddings lie closer are one scenario in other words."""

MAX_REPEATS = 3
"""A first line, or first six words, that open more scenarios than this are a template."""

_OPENING_WORDS = 6


@dataclass(frozen=True)
class SplitCount:
    """Scenarios of each split."""

    train: int
    held_out: int


@dataclass(frozen=True)
class GoldStats:
    """Gold answers: how many scenarios have them, and the two answers' mean lengths in words.

    `longer_good` is the share of pairs whose good answer is the longer one, a tie counting half; None without pairs.
    """

    scenarios: SplitCount
    share_train: float
    share_held_out: float
    mean_words_good: float | None
    mean_words_bad: float | None
    longer_good: float | None


@dataclass(frozen=True)
class VocabularyStats:
    """Content words shared, as Jaccard's index between parts of equal size; None where a group is too small.

    Attributes:
        split_size: scenarios in each part for the splits.
        train_held_out: between parts of the two splits.
        train_train: between two parts of the training split.
        domain_size: scenarios in each part for the domains.
        between_domains: mean over all pairs of domains.
        within_domains: mean over domains of two parts of the same one.
        by_domains: each pair of domains, most alike first.
    """

    split_size: int
    train_held_out: float | None
    train_train: float | None
    domain_size: int
    between_domains: float | None
    within_domains: float | None
    by_domains: list[tuple[str, str, float]]


@dataclass(frozen=True)
class CorpusStats:
    """A corpus in figures.

    Attributes:
        scenarios: of each split.
        traits: scenarios by trait.
        domains: by domain.
        cells: by trait and domain; every cell, empty ones too.
        turns: scenarios by number of turns, the system's left out.
        multi_turn: share with more than one turn.
        system: share that begins with a system turn.
        pressure: scenarios by pressure, "none" where none is given.
        criteria: scenarios by number of criteria.
        pitfalls: share with at least one criterion below zero points.
        statements: fewest met or unmet statements of any criterion.
        refusal_fails: share in which a refusal is a bad answer.
        gold: gold answers.
        vocabulary: words shared between splits and between domains.
        nearest: the nearest pairs by embedding, and all above `MAX_COSINE`.
        faults: what the corpus may not have: pairs too near, first lines and openings that are templates.
    """

    scenarios: SplitCount
    traits: dict[str, SplitCount]
    domains: dict[str, SplitCount]
    cells: dict[str, dict[str, SplitCount]]
    turns: dict[int, int]
    multi_turn: float
    system: float
    pressure: dict[str, int]
    criteria: dict[int, int]
    pitfalls: float
    statements: int
    refusal_fails: float
    gold: GoldStats
    vocabulary: VocabularyStats
    nearest: list[Pair]
    faults: list[str]


def corpus_stats(
    scenarios: Sequence[Scenario], gold: Mapping[str, GoldPair], embed: Embed, *, pairs: int = 10
) -> CorpusStats:
    """Figures and faults of a corpus.

    Args:
        scenarios: at least one, with splits.
        gold: gold answers by scenario.
        embed: unit embeddings of whole conversations.
        pairs: nearest pairs to name.
    """
    nearest = nearest_pairs([s.id for s in scenarios], embed([s.text for s in scenarios]), pairs, MAX_COSINE)
    return CorpusStats(
        scenarios=_by_split(scenarios),
        traits={t.id: _by_split(s for s in scenarios if s.trait == t.id) for t in traits()},
        domains={d.id: _by_split(s for s in scenarios if s.domain == d.id) for d in domains()},
        cells=_cells(scenarios),
        turns=_counts(_turns(s) for s in scenarios),
        multi_turn=fmean(_turns(s) > 1 for s in scenarios),
        system=fmean(s.messages[0].role == "system" for s in scenarios),
        pressure=dict(Counter(s.pressure or "none" for s in scenarios).most_common()),
        criteria=_counts(len(s.rubric) for s in scenarios),
        pitfalls=fmean(any(c.points < 0 for c in s.rubric) for s in scenarios),
        statements=min(len(side) for s in scenarios for c in s.rubric for side in (c.met, c.unmet)),
        refusal_fails=fmean(s.refusal_fails for s in scenarios),
        gold=_gold_stats(scenarios, gold),
        vocabulary=_vocabulary_stats(scenarios),
        nearest=nearest,
        faults=[*_too_near(nearest), *_templates(scenarios)],
    )


def _by_split(scenarios: Iterable[Scenario]) -> SplitCount:
    count = Counter(s.split for s in scenarios)
    return SplitCount(count["train"], count["held_out"])


def _cells(scenarios: Sequence[Scenario]) -> dict[str, dict[str, SplitCount]]:
    count = Counter((s.trait, s.domain, s.split) for s in scenarios)
    return {
        t.id: {d.id: SplitCount(count[t.id, d.id, "train"], count[t.id, d.id, "held_out"]) for d in domains()}
        for t in traits()
    }


def _turns(scenario: Scenario) -> int:
    return sum(m.role != "system" for m in scenario.messages)


def _counts(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items()))


def _gold_stats(scenarios: Sequence[Scenario], gold: Mapping[str, GoldPair]) -> GoldStats:
    all_scenarios = _by_split(scenarios)
    with_gold = _by_split(s for s in scenarios if s.id in gold)
    lengths = [(len(p.good.split()), len(p.bad.split())) for s in scenarios if (p := gold.get(s.id))]
    return GoldStats(
        scenarios=with_gold,
        share_train=with_gold.train / max(1, all_scenarios.train),
        share_held_out=with_gold.held_out / max(1, all_scenarios.held_out),
        mean_words_good=fmean(g for g, _ in lengths) if lengths else None,
        mean_words_bad=fmean(b for _, b in lengths) if lengths else None,
        longer_good=fmean(0.5 if g == b else g > b for g, b in lengths) if lengths else None,
    )


def _vocabulary_stats(scenarios: Sequence[Scenario]) -> VocabularyStats:
    words = {s.id: content_words(s.text) for s in scenarios}
    split: dict[str, list[frozenset[str]]] = {"train": [], "held_out": []}
    domain: dict[str, list[frozenset[str]]] = defaultdict(list)
    for s in scenarios:
        domain[s.domain].append(words[s.id])
        split[s.split or "train"].append(words[s.id])
    split_size = min(len(split["train"]) // 2, len(split["held_out"]))
    domain_size = min(len(texts) for texts in domain.values()) // 2
    by_domains = [
        (first, second, share)
        for first, second in combinations(sorted(domain), 2)
        if (share := shared_vocabulary(domain[first], domain[second], domain_size)) is not None
    ]
    within = [share for texts in domain.values() if (share := shared_vocabulary(texts, None, domain_size)) is not None]
    return VocabularyStats(
        split_size=split_size,
        train_held_out=shared_vocabulary(split["train"], split["held_out"], split_size),
        train_train=shared_vocabulary(split["train"], None, split_size),
        domain_size=domain_size,
        between_domains=fmean(share for *_, share in by_domains) if by_domains else None,
        within_domains=fmean(within) if within else None,
        by_domains=sorted(by_domains, key=lambda row: -row[2]),
    )


def _too_near(nearest: Sequence[Pair]) -> list[str]:
    return [
        f"{p.first!r} and {p.second!r} are nearly one scenario: cosine {p.cosine:.3f}, at most {MAX_COSINE} may be"
        for p in nearest
        if p.cosine > MAX_COSINE
    ]


def _templates(scenarios: Sequence[Scenario]) -> list[str]:
    """Every first line, and every opening of six words, that begins a message in more than `MAX_REPEATS` scenarios."""
    lines: dict[str, list[str]] = defaultdict(list)
    openings: dict[str, list[str]] = defaultdict(list)
    for s in scenarios:
        firsts = {_words(_first_message(s, role).partition("\n")[0]) for role in ("system", "user")} - {()}
        for words in firsts:
            lines[" ".join(words)].append(s.id)
        for words in {w[:_OPENING_WORDS] for w in firsts if len(w) > _OPENING_WORDS}:
            openings[" ".join(words)].append(s.id)
    repeated = {
        "first line": {text: ids for text, ids in lines.items() if len(ids) > MAX_REPEATS},
        "opening": {text: ids for text, ids in openings.items() if len(ids) > MAX_REPEATS},
    }
    return [
        f"the {kind} {text!r} stands in {len(ids)} scenarios ({', '.join(ids)}), at most {MAX_REPEATS} may share it"
        for kind, texts in repeated.items()
        for text, ids in texts.items()
    ]


def _first_message(scenario: Scenario, role: str) -> str:
    return next((m.content for m in scenario.messages if m.role == role), "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))
