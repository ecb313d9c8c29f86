"""This module tells whether a conversation exists already, among what ships or among what was written before."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadfast.files import write_atomically
from steadfast.tasks import battery, built_in_scenarios, find_overlaps
from steadfast.tasks.nearest import Embed
from steadfast.tasks.stats import MAX_COSINE

_WORTH_KEEPING = 500
"""The embeddings of a batch of so many texts take long enough to be kept."""


def remembered(embed: Embed, folder: Path) -> Embed:
    """Keep the embeddings of large batches in a folder, so that the shipped texts are embedded once."""

    def rows(texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) < _WORTH_KEEPING:
            return embed(texts)
        path = folder / f"{hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]}.npy"
        if not path.is_file():
            made = embed(texts)
            write_atomically(path, lambda p: p.write_bytes(_npy(made)))
        return np.load(path)

    return rows


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def measured_and_shipped() -> dict[str, str]:
    """Collect the texts of the scenarios and the evals' tasks that ship, by the name to be shown."""
    scenarios = {f"shipped {s.split} scenario {s.id!r}": s.text for s in built_in_scenarios()}
    measured = {f"task {t.id!r} of eval {suite.name!r}": t.text for suite in battery() for t in suite.tasks}
    return scenarios | measured


class Pool:
    """The texts that a new one is compared with.

    Args:
        texts: The texts by the name to be shown.
        embed: It embeds texts; None compares words alone.
    """

    def __init__(self, texts: Mapping[str, str], embed: Embed | None) -> None:
        self._texts = dict(texts)
        self._embed = embed
        self._rows = embed(list(texts.values())) if embed and texts else None

    def add(self, texts: Mapping[str, str]) -> None:
        """Add more texts."""
        self._texts.update(texts)
        if self._embed is not None and texts:
            rows = self._embed(list(texts.values()))
            self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])

    def __len__(self) -> int:
        return len(self._texts)

    def twins(self, text: str, since: int = 0) -> list[str]:
        """Find texts that are the same, nearly the same, or the same situation in other words; the worst first.

        Args:
            text: A conversation.
            since: So many of the oldest texts are left out, because the conversation was compared with them before.

        Returns:
            A line for each text found, which says how it is alike and names it.
        """
        texts = dict(list(self._texts.items())[since:])
        found = {
            o.second: "the same text as" if o.same else f"shares {o.share:.0%} of its word trigrams with"
            for o in find_overlaps({"new": text}, texts)
        }
        if self._embed is not None and self._rows is not None:
            cosines = self._rows[since:] @ self._embed([text])[0]
            for place in np.flatnonzero(cosines > MAX_COSINE):
                found.setdefault(list(texts)[place], f"has an embedding cosine of {cosines[place]:.2f} with")
        return [f"{how} {name}" for name, how in found.items()]
