"""The identity of a model is a hash of every file that decides what it computes, by the file's name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SUFFIXES = {".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken", ".py", ".vocab"}
"""Transformers reads the files with these endings in a model's folder: weights, configs, templates and code."""

_WRITTEN_BESIDE = {
    "checksums.json",
    "trainer_state.json",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
}
"""Training and the cache leave these files beside a model; none of them is read when the model is loaded."""

_hashes: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Identity:
    """This says what a model is, so that two sessions can tell whether they used the same one, and what changed if not.

    Attributes:
        files: The SHA-256 of each file of the snapshot, by its path within the folder.
        revision: The commit of the Hugging Face Hub that the files are of; None for a local folder.
        rendering: What else decides how a conversation is rendered, such as a frozen date.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as plain data, for a run's protocol."""
        return {
            "combined": self.combined,
            "revision": self.revision,
            "files": dict(self.files),
            "rendering": dict(self.rendering),
        }


def identify(folder: Path, revision: str | None = None) -> Identity:
    """Return the identity of the model or adapter in a folder.

    Args:
        folder: The folder of its files.
        revision: The hub's commit that the files are of; None for a local folder.

    Raises:
        OSError: A file cannot be read.
    """
    return Identity({f.relative_to(folder).as_posix(): hash_file(f) for f in snapshot_files(folder)}, revision)


def snapshot_files(folder: Path) -> list[Path]:
    """Return the files of a folder that decide what the model in it computes, in the order of their paths.

    These are the files that transformers reads, and all code below the folder. Files of training that lie beside them,
    such as the optimizer's, are not among them.
    """
    beside = (f for f in folder.iterdir() if f.suffix in _SUFFIXES and f.name not in _WRITTEN_BESIDE)
    below = [*folder.glob("additional_chat_templates/*.jinja"), *folder.glob("[!.]*/**/*.py")]
    return sorted({f for f in (*beside, *below) if f.is_file() and not f.name.startswith(".")})


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file's bytes; a process reads a file once if its size and time do not change."""
    status = file.stat()
    key = (str(file.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _hashes:
        with file.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]
