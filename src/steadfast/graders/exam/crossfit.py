"""Cross-fitting measures how good the `embedded` judge is on traits or domains that its fitted part never saw.

For each trait (or domain) the head is fitted anew on the training scenarios of all others, and grades the gold
answers of that trait's scenarios, held-out and training ones. Their pooled scores tell how the judge fares on a user's
own trait. A rubric and its statements are given to every judge, so the judge reads those of the scenario itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.fit import Statements, collect, collect_salad, fit_head
from steadfast.graders.embedded.judge import EmbeddedJudge
from steadfast.graders.exam.examination import Track
from steadfast.graders.exam.gold_scores import GoldScores
from steadfast.tasks import GoldPair, Task, built_in_gold, built_in_scenarios

Left = Literal["trait", "domain"]


class RememberingEmbedder(Embedder):
    """An embedder that reads each text once, so that judges with other heads share the work."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Tensor] = {}

    def layers(self, texts: Sequence[str]) -> Tensor:
        """Compute what `Embedder.layers` does, and remember it."""
        missing = [t for t in dict.fromkeys(texts) if t not in self._known]
        self._known.update(zip(missing, super().layers(missing), strict=True))
        return torch.stack([self._known[t] for t in texts]) if texts else super().layers(texts)


def cross_fit(left: Left, track: Track = iter) -> dict[str, Any]:
    """Refit without each trait or domain in turn, and examine each head on the one it was fitted without.

    Args:
        left: Whether traits or domains are left out.
        track: It passes the names of what is left out through and shows progress over them.

    Returns:
        A mapping with "left", the pooled figures (see `GoldScores.figures`) and the figures of each trait or domain
        under "by".
    """
    corpus, gold = built_in_scenarios(), built_in_gold()
    training = [s for s in corpus if s.split == "train"]
    embedder = RememberingEmbedder()
    statements = collect(training, embedder)
    scored = {
        name: _gold_scores_without(name, left, training, statements, corpus, gold, embedder)
        for name in track(sorted({getattr(s, left) for s in corpus if s.id in gold}))
    }
    return {
        "left": left,
        **GoldScores.pooled(list(scored.values())).figures,
        "by": {name: scores_of_gold.figures for name, scores_of_gold in scored.items()},
    }


def _gold_scores_without(
    name: str,
    left: Left,
    training: Sequence[Task],
    statements: Statements,
    corpus: Sequence[Task],
    gold: dict[str, GoldPair],
    embedder: RememberingEmbedder,
) -> GoldScores:
    kept = [place for place, s in enumerate(training) if getattr(s, left) != name]
    rows = torch.isin(statements.scenario, torch.tensor(kept))
    others = replace(
        statements,
        layers=statements.layers[rows],
        criterion=statements.criterion[rows],
        met=statements.met[rows],
        scenario=statements.scenario[rows],
    )
    head = fit_head(others, collect_salad([training[place] for place in kept], embedder))
    judge = EmbeddedJudge(f"embedded without {name}", embedder=embedder.with_head(head))
    return GoldScores.of(judge, [s for s in corpus if getattr(s, left) == name], gold)
