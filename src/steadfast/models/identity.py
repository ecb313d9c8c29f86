"""The identity of a model: a hash of every file that decides what it computes, by the file's name."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SUFFIXES = {".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken", ".py", ".vocab"}
"""Of the files beside one another that transformers reads: weights, configs, templates, vocabularies, code."""

_WRITTEN_BESIDE = {
    "checksums.json",
    "trainer_state.json",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
}
"""What training and the cache leave beside a model; none of it is read when the model is loaded."""

_hashes: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Identity:
    """What a model is, so that two sessions can tell whether they used the same one, and what changed if not.

    Attributes:
        files: the SHA-256 of each file of the snapshot, by its path within the folder.
        revision: the commit of the Hugging Face Hub that the files are of; None for a local folder.
        rendering: what else decides how a conversation is rendered, such as a frozen date.
    """

    files: Mapping[str, str]
    revision: str | None = None
    rendering: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def combined(self) -> str:
        """One hash of 16 hexadecimal digits over the files and the rendering."""
        lines = [f"{name}:{digest}" for name, digest in sorted(self.files.items())]
        lines += [f"{name}={value!r}" for name, value in sorted(self.rendering.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def changed(self, before: "Identity") -> list[str]:
        """The names of what differs from another identity, each with what became of it; empty if they are equal."""
        found = [_difference(n, before.files.get(n), self.files.get(n)) for n in _names(before.files, self.files)]
        for name in _names(before.rendering, self.rendering):
            if before.rendering.get(name) != self.rendering.get(name):
                found.append(f"{name} ({before.rendering.get(name)!r} before, {self.rendering.get(name)!r} now)")
        return [f for f in found if f]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a run's protocol; `from_dict` reads it back."""
        return {
            "combined": self.combined,
            "revision": self.revision,
            "files": dict(self.files),
            "rendering": dict(self.rendering),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Identity":
        """The identity that `as_dict` wrote."""
        return cls(dict(data["files"]), data.get("revision"), dict(data.get("rendering", {})))


def identify(folder: Path, revision: str | None = None) -> Identity:
    """The identity of the model or adapter in a folder.

    Args:
        folder: of its files.
        revision: the hub's commit that they are of.

    Raises:
        OSError: a file cannot be read.
    """
    return Identity({f.relative_to(folder).as_posix(): hash_file(f) for f in snapshot_files(folder)}, revision)


def snapshot_files(folder: Path) -> list[Path]:
    """The files of a folder that decide what the model in it computes, in order of their paths.

    These are the files that transformers reads, and all code below the folder. Files of training that lie beside them,
    such as the optimizer's, are not among them.
    """
    beside = (f for f in folder.iterdir() if f.suffix in _SUFFIXES and f.name not in _WRITTEN_BESIDE)
    below = [*folder.glob("additional_chat_templates/*.jinja"), *folder.glob("[!.]*/**/*.py")]
    return sorted({f for f in (*beside, *below) if f.is_file() and not f.name.startswith(".")})


def hash_file(file: Path) -> str:
    """SHA-256 of a file's bytes. A file that has not changed in size or time is read once a process."""
    status = file.stat()
    key = (str(file.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _hashes:
        with file.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]


def _names(*mappings: Iterable[str]) -> list[str]:
    return sorted({name for mapping in mappings for name in mapping})


def _difference(name: str, before: str | None, now: str | None) -> str:
    if before == now:
        return ""
    if before is None:
        return f"{name} (new)"
    return f"{name} (gone)" if now is None else f"{name} (changed)"
