"""The `embedded` judge compares an answer's sentences with each criterion's met and unmet statements.

It runs offline on a CPU; its scores are deterministic and continuous. For a criterion with met statements M and unmet
statements U, each sentence x of the answer has a leaning, max cos(x, M) - max cos(x, U), and a relevance, the larger of
the two cosines. The criterion's evidence is the leaning of the sentences that are relevant to it. Its degree rises with
the evidence, but only where something relevant was said at all: silence meets no criterion, and falls into no pitfall.

Text without meaning of its own earns nothing. A gate stops degenerate text; a sentence copied from the conversation or
the criteria, or one that is a list or a shuffle of words, loses its relevance to the criteria that would earn points,
though not to pitfalls.

Answers are read whole. A sentence too long for the encoder is read in pieces, each as a sentence of its own, and an
answer of more sentences than any that this project samples is stopped by the gate "overlong".

The judge says what it cannot grade: a criterion without met and unmet statements, and text that is not English (see
`steadfast.graders.embedded.language`), leave an answer ungraded, which is never zero.

Plain sentence embeddings put a claim near its negation. The stance head that ships was fitted on the statements of
the training scenarios to set met apart from unmet within a criterion (`python -m steadfast.graders.embedded.fit`); how
much it buys on scenarios it never saw is what `steadfast judges exam` measures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadfast.graders import gates
from steadfast.graders.embedded import sentences as splitting
from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.head import Head
from steadfast.graders.embedded.language import in_other_script, unread_scenario
from steadfast.graders.gates import Ngrams, copied_share, gate, given_ngrams, words
from steadfast.graders.grade import Grade, Verdict
from steadfast.graders.protocol import protocol_hash
from steadfast.messages import printable
from steadfast.rollouts import Rollout
from steadfast.tasks.rubric import Criterion, rubric_score
from steadfast.tasks.task import Task

STANCE_HEAD = Path(str(files("steadfast.graders.embedded") / "data" / "stance.safetensors"))

_CODE_VERSION = 4
"""A developer raises this number when code, not a constant, changes a grade. All constants are in the settings."""


@dataclass(frozen=True)
class Calibration:
    """The constants of the embedded judge.

    Attributes:
        focus: How sharply the most relevant sentences outweigh the others.
        slope: How sharply a criterion's degree rises with the evidence.
        bias: The evidence at which a relevant answer meets a criterion half.
        relevance: The cosine at which a sentence half counts as relevant to the criterion.
        relevance_slope: How sharply a sentence's relevance rises with that cosine.
        quoted: A sentence counts in full up to this share of copied words.
        copied: A sentence counts for nothing from this share of copied words on.
        digits: A criterion's degree is rounded to so many decimal places.
    """

    focus: float = 12.0
    slope: float = 16.0
    bias: float = 0.0
    relevance: float = 0.35
    relevance_slope: float = 12.0
    quoted: float = 0.4
    copied: float = 0.8
    digits: int = 6


@dataclass(frozen=True)
class _SplitAnswer:
    """An answer split into sentences, or the gate that stops it, or the reason why it cannot be graded."""

    sentences: Sequence[str] = ()
    gate: str | None = None
    error: str | None = None


class EmbeddedJudge:
    """A judge that grades by sentence embeddings.

    Args:
        name: The judge's name in files and reports.
        head: The file of the fitted head; None means plain sentence embeddings.
        calibration: The judge's constants; None takes the defaults.
        embedder: An embedder that is loaded already, with a head or without; `head` is then not read.
    """

    def __init__(
        self,
        name: str = "embedded",
        head: Path | None = STANCE_HEAD,
        calibration: Calibration | None = None,
        *,
        embedder: Embedder | None = None,
    ) -> None:
        self.name = name
        self._head = head
        self._embedder = embedder
        self._calibration = calibration or Calibration()
        self._statements: dict[tuple[str, ...], Tensor] = {}

    @cached_property
    def embedder(self) -> Embedder:
        """The embedding model, loaded at first use."""
        if self._embedder is not None:
            return self._embedder
        return Embedder(None if self._head is None else Head.load(self._head))

    @property
    def settings(self) -> dict[str, Any]:
        """Every constant that decides a grade, the checksums of the weights, and a version number of the code."""
        return self._settings

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {
            "version": _CODE_VERSION,
            "embedder": self.embedder.settings,
            "gates": asdict(gates.LIMITS),
            "sentences": asdict(splitting.LIMITS),
            "calibration": asdict(self._calibration),
        }

    def cannot_grade(self, scenario: Task) -> str | None:
        """Say why no answer to a scenario can be graded: its criteria lack statements, or it is not in English."""
        for criterion in scenario.rubric:
            missing = [side for side, has in (("met", criterion.met), ("unmet", criterion.unmet)) if not has]
            if missing:
                return (
                    f"its criterion {printable(criterion.criterion)[:80]!r} has no {' and no '.join(missing)} "
                    "statements, with which this judge compares; add some, or use a 'provider/model' judge"
                )
        if unread := unread_scenario(scenario.messages, scenario.rubric):
            return f"{unread}, and this judge reads English; use a 'provider/model' judge"
        return None

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give one grade for each answer; all their sentences are embedded in one go."""
        reasons = {id(a.task): self.cannot_grade(a.task) for a in answers}
        given = [given_ngrams(a.task.messages, a.task.rubric) for a in answers]
        self._embed_statements([a for a in answers if reasons[id(a.task)] is None])
        taken = [
            self._split(a, g) if reasons[id(a.task)] is None else _SplitAnswer(error=reasons[id(a.task)])
            for a, g in zip(answers, given, strict=True)
        ]
        unique = {s: row for row, s in enumerate(dict.fromkeys(s for parts in taken for s in parts.sentences))}
        reading = self.embedder.read(list(unique))
        scenarios = {id(a.task): a.task for a in answers}
        protocols = {key: protocol_hash(self.name, self.settings, s) for key, s in scenarios.items()}
        grades: list[Grade] = []
        for answer, parts, known in zip(answers, taken, given, strict=True):
            protocol = protocols[id(answer.task)]
            if parts.error or parts.gate:
                score = None if parts.error else 0.0
                grades.append(Grade(score, (), self.name, protocol, gate=parts.gate, error=parts.error))
                continue
            rows = [unique[s] for s in parts.sentences]
            own = torch.tensor([own_share(s, known, self._calibration) for s in parts.sentences])
            said, credit = reading.vectors[rows], reading.prose[rows] * own
            rubric = answer.task.rubric
            degrees = [self._degree(said, credit, criterion) for criterion in rubric]
            verdicts = tuple(Verdict(c.criterion, d) for c, d in zip(rubric, degrees, strict=True))
            score = rubric_score([c.points for c in rubric], degrees)
            grades.append(Grade(score, verdicts, self.name, protocol))
        return grades

    def _split(self, answer: Rollout, given: Ngrams) -> _SplitAnswer:
        """Split an answer into sentences that the encoder can read, or say why it has none."""
        if in_other_script(answer.text):
            return _SplitAnswer(error="the answer is not written in Latin letters, and this judge reads English")
        if closed := gate(answer.text, answer.finished, given):
            return _SplitAnswer(gate=closed)
        spoken = self.embedder.pieces(splitting.sentences(answer.text))
        return _SplitAnswer(gate="overlong") if len(spoken) > splitting.LIMITS.max_sentences else _SplitAnswer(spoken)

    def _degree(self, said: Tensor, credit: Tensor, criterion: Criterion) -> float:
        c = self._calibration
        leaning, relevance = evidence(said, self._statements[criterion.met], self._statements[criterion.unmet])
        if criterion.points > 0:  # Copies and lists of words earn nothing, but can still fall into a pitfall.
            relevance = relevance * credit
        weight = torch.softmax(c.focus * relevance, dim=0)
        stance = torch.sigmoid(c.slope * ((weight * leaning).sum() - c.bias))
        spoken_to = torch.sigmoid(c.relevance_slope * (relevance.max() - c.relevance))
        return round(float(stance * spoken_to), c.digits)

    def _embed_statements(self, answers: Sequence[Rollout]) -> None:
        wanted = [side for a in answers for c in a.task.rubric for side in (c.met, c.unmet)]
        missing = [side for side in dict.fromkeys(wanted) if side not in self._statements]
        pieces = [self.embedder.pieces(side) for side in missing]
        vectors = self.embedder.embed([s for side in pieces for s in side])
        for side, rows in zip(missing, vectors.split([len(side) for side in pieces]), strict=True):
            self._statements[side] = rows


def own_share(sentence: str, given: Ngrams, calibration: Calibration) -> float:
    """Compute how far a sentence is in the answer's own words, in [0, 1].

    It is 1 while at most the share `quoted` of its words is copied, then falls linearly, to 0 at the share `copied`.

    Args:
        sentence: The sentence.
        given: The runs of words that count as copied.
        calibration: The constants `quoted` and `copied`.
    """
    share, c = copied_share(words(sentence), given), calibration
    return min(1.0, max(0.0, (c.copied - share) / (c.copied - c.quoted)))


def evidence(said: Tensor, met: Tensor, unmet: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the leaning and the relevance of each sentence to a criterion, each [sentences].

    Args:
        said: The unit embeddings of the answer's sentences, [sentences, size].
        met: The unit embeddings of the criterion's met statements, [met, size].
        unmet: The unit embeddings of its unmet statements, [unmet, size].
    """
    to_met = (said @ met.T).max(dim=1).values
    to_unmet = (said @ unmet.T).max(dim=1).values
    return to_met - to_unmet, torch.maximum(to_met, to_unmet)
