"""The statistics of a corpus tell what it holds, how alike its tasks are, and which are too much alike."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from steadfast.errors import DataError
from steadfast.messages import printable
from steadfast.tasks.nearest import Embed, Pair, nearest_pairs
from steadfast.tasks.task import GoldPair, Task
from steadfast.tasks.traits import Taxonomy
from steadfast.tasks.vocabulary import content_words, shared_vocabulary

MAX_COSINE = 0.9
"""Two conversations whose embeddings have a larger cosine are one task in other words."""

MAX_REPEATS = 3
"""A first line, or first six words, that open more tasks than this are a template."""

NONE = "none"
"""This name stands for the trait, domain or pressure of a task that has none."""

_OPENING_WORDS = 6


@dataclass(frozen=True)
class SplitCount:
    """The number of tasks of each split."""

    train: int
    held_out: int


@dataclass(frozen=True)
class GoldStats:
    """Statistics of the gold answers.

    Attributes:
        scenarios: The number of tasks that have them.
        share_train: The share of the training tasks that have them.
        share_held_out: The share of the held-out tasks that have them.
        mean_words_good: The mean number of words of the good answers; None without pairs.
        mean_words_bad: The same for the bad answers.
        longer_good: The share of pairs whose good answer is the longer one; a tie counts half. None without pairs.
    """

    scenarios: SplitCount
    share_train: float
    share_held_out: float
    mean_words_good: float | None
    mean_words_bad: float | None
    longer_good: float | None


@dataclass(frozen=True)
class VocabularyStats:
    """The shares of content words in common, as Jaccard indices of parts of equal size; None for too small groups.

    Attributes:
        split_size: The number of tasks in each part where splits are compared.
        train_held_out: What a part of the training split and one of the held-out split share.
        train_train: What two parts of the training split share.
        domain_size: The number of tasks in each part where domains are compared.
        between_domains: What parts of two domains share, as the mean over all pairs of domains.
        within_domains: What two parts of one domain share, as the mean over domains.
        by_domains: What each pair of domains shares. The most alike stand first.
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
    """The statistics of a corpus.

    Attributes:
        scenarios: The number of tasks in each split.
        traits: The number of tasks by trait. It lists the traits that occur, in the taxonomy's order, then "none".
        domains: The number of tasks by domain, in the same way.
        cells: The number of tasks by trait and domain, for every pair of the two above, empty ones too.
        turns: The number of tasks by their number of turns, without the system's.
        multi_turn: The share of tasks with more than one turn.
        system: The share of tasks that begin with a system turn.
        pressure: The number of tasks by pressure.
        criteria: The number of tasks by their number of criteria, which is 0 for those that no rubric grades.
        pitfalls: The share of tasks with at least one criterion below zero points.
        statements: The fewest met or unmet statements that any criterion has; None without criteria.
        refusal_fails: The share of tasks in which a refusal is a bad answer.
        gold: The statistics of the gold answers.
        vocabulary: The shares of words in common between splits and between domains.
        nearest: The nearest pairs by embedding, and all above `MAX_COSINE`.
        faults: The faults of the corpus: pairs that are too near, and first lines and openings that are templates.
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
    statements: int | None
    refusal_fails: float
    gold: GoldStats
    vocabulary: VocabularyStats
    nearest: list[Pair]
    faults: list[str]


def corpus_stats(
    tasks: Sequence[Task], gold: Mapping[str, GoldPair], embed: Embed, taxonomy: Taxonomy, *, pairs: int = 10
) -> CorpusStats:
    """Compute the statistics of a corpus and find its faults.

    Args:
        tasks: The tasks of the corpus, at least one, with their splits decided.
        gold: The gold answers by the task's id.
        embed: It makes unit embeddings of whole conversations.
        taxonomy: The traits and domains that the tasks may name, in the order in which they are listed.
        pairs: The number of nearest pairs to name.

    Raises:
        DataError: There is no task.
    """
    if not tasks:
        raise DataError(["a corpus without tasks has no figures"])
    nearest = nearest_pairs([t.id for t in tasks], embed([t.text for t in tasks]), pairs, MAX_COSINE)
    traits = _present(taxonomy.trait_ids, [_trait(t) for t in tasks])
    domains = _present(taxonomy.domain_ids, [_domain(t) for t in tasks])
    cells = Counter((_trait(t), _domain(t), t.split) for t in tasks)
    return CorpusStats(
        scenarios=_by_split(tasks),
        traits={name: _by_split(t for t in tasks if _trait(t) == name) for name in traits},
        domains={name: _by_split(t for t in tasks if _domain(t) == name) for name in domains},
        cells={t: {d: SplitCount(cells[t, d, "train"], cells[t, d, "held_out"]) for d in domains} for t in traits},
        turns=_counts(_turns(t) for t in tasks),
        multi_turn=fmean(_turns(t) > 1 for t in tasks),
        system=fmean(t.messages[0].role == "system" for t in tasks),
        pressure=dict(Counter(t.pressure or NONE for t in tasks).most_common()),
        criteria=_counts(len(t.rubric) for t in tasks),
        pitfalls=fmean(any(c.points < 0 for c in t.rubric) for t in tasks),
        statements=min((len(side) for t in tasks for c in t.rubric for side in (c.met, c.unmet)), default=None),
        refusal_fails=fmean(t.refusal_fails for t in tasks),
        gold=_gold_stats(tasks, gold),
        vocabulary=_vocabulary_stats(tasks),
        nearest=nearest,
        faults=[*_too_near(nearest), *_templates(tasks)],
    )


def _trait(task: Task) -> str:
    return task.trait or NONE


def _domain(task: Task) -> str:
    return task.domain or NONE


def _present(known: Sequence[str], named: Sequence[str]) -> list[str]:
    """List the names that occur: the known ones in their order, then any others in the order in which they come."""
    occur = dict.fromkeys(named)
    return [*(name for name in known if name in occur), *(name for name in occur if name not in known)]


def _by_split(tasks: Iterable[Task]) -> SplitCount:
    count = Counter(t.split for t in tasks)
    return SplitCount(count["train"], count["held_out"])


def _turns(task: Task) -> int:
    return sum(m.role != "system" for m in task.messages)


def _counts(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items()))


def _gold_stats(tasks: Sequence[Task], gold: Mapping[str, GoldPair]) -> GoldStats:
    everything = _by_split(tasks)
    with_gold = _by_split(t for t in tasks if t.id in gold)
    lengths = [(len(p.good.split()), len(p.bad.split())) for t in tasks if (p := gold.get(t.id))]
    return GoldStats(
        scenarios=with_gold,
        share_train=with_gold.train / max(1, everything.train),
        share_held_out=with_gold.held_out / max(1, everything.held_out),
        mean_words_good=fmean(g for g, _ in lengths) if lengths else None,
        mean_words_bad=fmean(b for _, b in lengths) if lengths else None,
        longer_good=fmean(0.5 if g == b else g > b for g, b in lengths) if lengths else None,
    )


def _vocabulary_stats(tasks: Sequence[Task]) -> VocabularyStats:
    split: dict[str, list[frozenset[str]]] = {"train": [], "held_out": []}
    domain: dict[str, list[frozenset[str]]] = defaultdict(list)
    for task in tasks:
        words = content_words(task.text)
        domain[_domain(task)].append(words)
        split[task.split or "train"].append(words)
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
        f"{printable(p.first)!r} and {printable(p.second)!r} are nearly one scenario: "
        f"cosine {p.cosine:.3f}, at most {MAX_COSINE} may be"
        for p in nearest
        if p.cosine > MAX_COSINE
    ]


def _templates(tasks: Sequence[Task]) -> list[str]:
    """Find first lines and openings of six words that begin a message in more than `MAX_REPEATS` tasks."""
    lines: dict[str, list[str]] = defaultdict(list)
    openings: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        firsts = {_words(_first_message(task, role).partition("\n")[0]) for role in ("system", "user")} - {()}
        for words in firsts:
            lines[" ".join(words)].append(task.id)
        for words in {w[:_OPENING_WORDS] for w in firsts if len(w) > _OPENING_WORDS}:
            openings[" ".join(words)].append(task.id)
    return [
        f"the {kind} {text!r} stands in {len(ids)} scenarios ({printable(', '.join(ids))}), "
        f"at most {MAX_REPEATS} may share it"
        for kind, texts in (("first line", lines), ("opening", openings))
        for text, ids in texts.items()
        if len(ids) > MAX_REPEATS
    ]


def _first_message(task: Task, role: str) -> str:
    return next((m.content for m in task.messages if m.role == role), "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))
