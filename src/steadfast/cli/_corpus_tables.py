"""The corpus's figures as tables."""

from collections import Counter

from steadfast.cli._shared import print_rows
from steadfast.tasks.stats import CorpusStats, SplitCount


def print_corpus_stats(stats: CorpusStats) -> None:
    """Every figure; cells are counted by their size, and `--json` has each one."""
    print_rows([{"figure": name, "value": value} for name, value in _figures(stats).items()], False, "figures")
    for kind, counts in (("trait", stats.traits), ("domain", stats.domains)):
        rows = [{kind: name, "train": n.train, "held out": n.held_out} for name, n in counts.items()]
        print_rows(rows, False, f"scenarios by {kind}")
    sizes = Counter((n.train, n.held_out) for row in stats.cells.values() for n in row.values())
    rows = [{"train": train, "held out": held, "cells": n} for (train, held), n in sorted(sizes.items())]
    print_rows(rows, False, "cells of trait and domain by size")
    for kind, values in (("turns", stats.turns), ("pressure", stats.pressure), ("criteria", stats.criteria)):
        print_rows([{kind: value, "scenarios": n} for value, n in values.items()], False, f"scenarios by {kind}")
    alike = [{"domain": a, "other": b, "Jaccard": share} for a, b, share in stats.vocabulary.by_domains]
    print_rows(alike[:5], False, "domains most alike in vocabulary")
    nearest = [{"scenario": p.first, "other": p.second, "cosine": p.cosine} for p in stats.nearest]
    print_rows(nearest, False, "nearest pairs by embedding")


def _figures(stats: CorpusStats) -> dict[str, str | float | None]:
    gold, words = stats.gold, stats.vocabulary
    return {
        "scenarios": _both(stats.scenarios),
        "share of more than one turn": stats.multi_turn,
        "share with a system turn": stats.system,
        "share with a pitfall": stats.pitfalls,
        "fewest met or unmet statements of a criterion": str(stats.statements),
        "share where a refusal fails": stats.refusal_fails,
        "with gold answers": _both(gold.scenarios),
        "share with gold answers, train": gold.share_train,
        "share with gold answers, held out": gold.share_held_out,
        "mean words of the good answer": gold.mean_words_good,
        "mean words of the bad answer": gold.mean_words_bad,
        "share of pairs whose good answer is longer": gold.longer_good,
        f"shared vocabulary of {words.split_size} train and {words.split_size} held-out": words.train_held_out,
        f"shared vocabulary of {words.split_size} train and {words.split_size} other train": words.train_train,
        f"shared vocabulary of {words.domain_size} scenarios of two domains": words.between_domains,
        f"shared vocabulary of {words.domain_size} and {words.domain_size} of one domain": words.within_domains,
    }


def _both(count: SplitCount) -> str:
    return f"{count.train + count.held_out} ({count.train} train, {count.held_out} held out)"
