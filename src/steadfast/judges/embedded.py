"""The `embedded` judge: an answer's sentences against each criterion's met and unmet statements.

Runs offline on a CPU, deterministic and continuous. For a criterion with met statements M and unmet statements U,
each sentence x of the answer has a leaning, mean cos(x, M) - mean cos(x, U) over their two nearest, and a relevance,
its largest cosine to either. The criterion's evidence is the leaning of the sentences that speak to it, and its
degree rises with evidence but only where something relevant was said at all: silence meets no criterion, and falls
into no pitfall.

Plain sentence embeddings put a claim near its negation. The stance head that ships was fitted on the statements of
the training scenarios to set met apart from unmet within a criterion (`python -m steadfast.judges.fit`); how much it
buys on scenarios it never saw is what `steadfast judges exam` measures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadfast.corpus.scenario import Criterion
from steadfast.judges.embedder import Embedder, sentences
from steadfast.judges.gates import gate
from steadfast.judges.protocol import protocol_hash
from steadfast.judges.types import Answer, Grade, Verdict, rubric_score

STANCE_HEAD = Path(str(files("steadfast.judges") / "data" / "stance.safetensors"))

_MAX_SENTENCES = 24
"""Sentences read of an answer; a longer one is degenerate at any length this project samples."""


@dataclass(frozen=True)
class Calibration:
    """Constants of the embedded judge.

    Attributes:
        focus: how sharply the most relevant sentences outweigh the others.
        slope: of the degree in the evidence.
        bias: evidence at which a relevant answer meets a criterion half.
        relevance: cosine at which a sentence half counts as speaking to the criterion.
        relevance_slope: how sharply.
    """

    focus: float = 12.0
    slope: float = 8.0
    bias: float = 0.0
    relevance: float = 0.35
    relevance_slope: float = 12.0


class EmbeddedJudge:
    """Grades by sentence embeddings.

    Args:
        name: in files and reports.
        head: file of the stance head; None for plain sentence embeddings.
        calibration: constants.
    """

    def __init__(
        self, name: str = "embedded", head: Path | None = STANCE_HEAD, calibration: Calibration | None = None
    ) -> None:
        self.name = name
        self._head = head
        self._calibration = calibration or Calibration()
        self._statements: dict[tuple[str, ...], Tensor] = {}

    @cached_property
    def embedder(self) -> Embedder:
        """The embedding model, loaded at first use."""
        return Embedder(self._head)

    @property
    def settings(self) -> dict[str, Any]:
        """Model checksum and constants."""
        return {"version": 1, "model": self.embedder.checksum, **asdict(self._calibration)}

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        """One grade for each answer; all their sentences are embedded in one go."""
        self._embed_statements(answers)
        gates = [gate(a.text, a.finished) for a in answers]
        parts = [[] if g else sentences(a.text)[:_MAX_SENTENCES] for a, g in zip(answers, gates, strict=True)]
        unique = list(dict.fromkeys(s for p in parts for s in p))
        rows = dict(zip(unique, self.embedder.embed(unique), strict=True))
        grades: list[Grade] = []
        for answer, closed, spoken in zip(answers, gates, parts, strict=True):
            protocol = protocol_hash(self.name, self.settings, answer.scenario)
            if closed:
                grades.append(Grade(0.0, (), self.name, protocol, gate=closed))
                continue
            said = torch.stack([rows[s] for s in spoken])
            rubric = answer.scenario.rubric
            degrees = [self._degree(said, criterion) for criterion in rubric]
            verdicts = tuple(Verdict(c.criterion, d) for c, d in zip(rubric, degrees, strict=True))
            score = rubric_score([c.points for c in rubric], degrees)
            grades.append(Grade(score, verdicts, self.name, protocol))
        return grades

    def _degree(self, said: Tensor, criterion: Criterion) -> float:
        c = self._calibration
        leaning, relevance = evidence(said, self._statements[criterion.met], self._statements[criterion.unmet])
        weight = torch.softmax(c.focus * relevance, dim=0)
        stance = torch.sigmoid(c.slope * ((weight * leaning).sum() - c.bias))
        spoken_to = torch.sigmoid(c.relevance_slope * (relevance.max() - c.relevance))
        return round(float(stance * spoken_to), 6)

    def _embed_statements(self, answers: Sequence[Answer]) -> None:
        wanted = [side for a in answers for c in a.scenario.rubric for side in (c.met, c.unmet)]
        missing = [side for side in dict.fromkeys(wanted) if side not in self._statements]
        vectors = self.embedder.embed([s for side in missing for s in side])
        for side, rows in zip(missing, vectors.split([len(side) for side in missing]), strict=True):
            self._statements[side] = rows


def evidence(said: Tensor, met: Tensor, unmet: Tensor) -> tuple[Tensor, Tensor]:
    """Leaning and relevance of each sentence to a criterion, each [sentences].

    Args:
        said: unit embeddings of the answer's sentences.
        met: of the met statements.
        unmet: of the unmet statements.
    """
    to_met, to_unmet = said @ met.T, said @ unmet.T
    near_met = to_met.topk(min(2, met.shape[0])).values.mean(dim=1)
    near_unmet = to_unmet.topk(min(2, unmet.shape[0])).values.mean(dim=1)
    relevance = torch.maximum(to_met.max(dim=1).values, to_unmet.max(dim=1).values)
    return near_met - near_unmet, relevance
