"""Find the files of a model or an adapter on the Hugging Face Hub, or in the cache that the hub's client keeps.

What lies whole in the cache is used as it is, without asking the hub: a run that is resumed gets the commit that it
began with. Of a repository only the files that are read are fetched, never a second copy of the weights in another
format.
"""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from steadfast.errors import ModelLoadError, ModelNotFoundError
from steadfast.models.boundary import reason

_CONNECT_SECONDS = 3.0
"""How many seconds a connection to the hub may take; an answer may take as long as the hub's own client would wait."""

_READ_ENDINGS = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".py", ".vocab")
"""Files with these endings are read by transformers beside the weights."""
_CACHED_PATTERNS = tuple(f"*{ending}" for ending in _READ_ENDINGS)

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)
_SINGLE_FILE, _INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot is the files of one commit of a repository.

    Attributes:
        folder: The folder that the files lie in.
        source: Where they came from: "cache" if all of them lay there before, and else "hub".
        revision: The commit that the files are of.
    """

    folder: Path
    source: str
    revision: str


class HubUnreachableError(ModelNotFoundError):
    """The hub gave no answer, or may not be asked, so that nothing is known about the repository."""


def is_hub_name(name: str) -> bool:
    """Return whether a name could be that of a repository on the hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") <= 1


def find_model(name: str, revision: str | None = None) -> Snapshot:
    """Find the files of a model: the configuration, the weights as safetensors, the tokenizer and the template.

    Args:
        name: The name of the repository.
        revision: A branch, a tag or a commit; None takes the main branch.

    Raises:
        HubUnreachableError: The cache does not hold the whole model, and the hub gives no answer.
        ModelNotFoundError: The hub has no such repository or revision, or does not let this user have it.
    """
    folder, missing = _cached(name, revision, _CACHED_PATTERNS)
    if folder:
        missing = [*missing_model_files(folder), *missing]
    if folder and not missing:
        return Snapshot(folder, "cache", folder.name)
    try:
        with _hub_errors(name, revision):
            commit, files = _listing(name, revision)
            wanted = [*_weights(name, commit, files), *(f for f in files if _is_read(f))]
            return _download(name, revision, wanted)
    except HubUnreachableError as error:
        if not folder:
            raise
        raise HubUnreachableError(
            f"the cache in {folder} holds only a part of {name} ({', '.join(missing[:3])} missing), and {error}"
        ) from error


def find_adapter(name: str, revision: str | None = None) -> Snapshot:
    """Find the two files of an adapter in PEFT's format.

    Args:
        name: The name of the repository.
        revision: A branch, a tag or a commit; None takes the main branch.

    Raises:
        HubUnreachableError: The cache does not hold both files, and the hub gives no answer.
        ModelNotFoundError: The hub has no such repository, or it holds no adapter as safetensors.
    """
    folder, _ = _cached(name, revision, _ADAPTER_FILES)
    if folder and all((folder / f).is_file() for f in _ADAPTER_FILES):
        return Snapshot(folder, "cache", folder.name)
    with _hub_errors(name, revision):
        _, files = _listing(name, revision)
        if missing := [f for f in _ADAPTER_FILES if f not in files]:
            raise ModelNotFoundError(
                f"{name} on the hub holds no adapter as safetensors ({', '.join(missing)} missing)"
            )
        return _download(name, revision, _ADAPTER_FILES)


def missing_model_files(folder: Path) -> list[str]:
    """Return the names of the files that a model's folder lacks to be whole; the list is empty if it is whole.

    Raises:
        ModelLoadError: The index of the weights cannot be read.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if (folder / _INDEX_FILE).is_file() and not (folder / _SINGLE_FILE).is_file():
        missing += [s for s in shards(folder / _INDEX_FILE) if not (folder / s).is_file()]
    elif not (folder / _SINGLE_FILE).is_file():
        missing.append(_SINGLE_FILE)
    if not any((folder / t).is_file() for t in _TOKENIZER_FILES):
        missing.append("tokenizer.json")
    return missing


def shards(index: Path) -> list[str]:
    """Return the names of the files that an index of weights divides them among.

    Raises:
        ModelLoadError: The file is no index, or names files outside its folder.
    """
    try:
        names = sorted({str(n) for n in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{index} is no index of weights ({reason(error)}): fetch the model again") from error
    if not names or any(Path(n).name != n for n in names):
        raise ModelLoadError(f"{index} names no files, or files outside its folder: fetch the model again")
    return names


def _cached(name: str, revision: str | None, patterns: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the cached snapshot, if there is one, and what its client knows to lack beside the weights."""
    try:
        folder = snapshot_download(
            name, revision=revision, local_files_only=True, allow_patterns=list(patterns), ignore_patterns=["*/*"]
        )
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path), ["files beside the weights"]
    except (LocalEntryNotFoundError, ValueError, OSError):
        return None, []
    return Path(folder), []


def _listing(name: str, revision: str | None) -> tuple[str, list[str]]:
    """Return the commit that a revision stands for, and the files of the repository there."""
    patience = constants.HF_HUB_ETAG_TIMEOUT
    timeout: Any = (
        _CONNECT_SECONDS,
        patience,
        patience,
        patience,
    )  # to connect, read, write and pool
    info = HfApi().model_info(name, revision=revision, timeout=timeout)
    if info.sha is None:
        raise HubUnreachableError(f"the Hugging Face Hub did not name the commit of {name}")
    return info.sha, [s.rfilename for s in info.siblings or []]


def _weights(name: str, commit: str, files: Sequence[str]) -> list[str]:
    """Return the files that hold the weights as safetensors, in transformers' order of preference."""
    if _SINGLE_FILE in files:
        return [_SINGLE_FILE]
    if _INDEX_FILE in files:
        return shards(Path(hf_hub_download(name, _INDEX_FILE, revision=commit)))
    other = [f for f in files if f.endswith((".bin", ".gguf", ".onnx", ".h5", ".msgpack", ".safetensors"))]
    raise ModelNotFoundError(
        f"{name} on the hub has no {_SINGLE_FILE}: it holds "
        + (f"weights in another format ({', '.join(other[:3])}), which are not read" if other else "no weights")
        + "; name a repository with safetensors, or save it as such with transformers' save_pretrained"
    )


def _is_read(file: str) -> bool:
    if "/" in file:
        return file.endswith(".py") or file.startswith("additional_chat_templates/")
    return file.endswith(_READ_ENDINGS)


def _download(name: str, revision: str | None, files: Iterable[str]) -> Snapshot:
    # The revision's own name is asked for, not its commit, so that the cache learns which commit it stands for.
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=[escape(f) for f in files]))
    return Snapshot(folder, "hub", folder.name)


@contextmanager
def _hub_errors(name: str, revision: str | None) -> Generator[None]:
    """Within this context what the hub's client raises becomes a sentence."""
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachableError("the Hugging Face Hub may not be asked (HF_HUB_OFFLINE is set)")
    try:
        yield
    except ModelNotFoundError:
        raise
    except GatedRepoError as error:
        raise ModelNotFoundError(
            f"{name} is gated: ask for access at {constants.ENDPOINT}/{name}, then run `hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(f"{name} has no revision {revision!r} on the Hugging Face Hub") from error
    except DisabledRepoError as error:
        raise ModelNotFoundError(f"{name} is disabled on the Hugging Face Hub") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"{name} is not on the Hugging Face Hub; if it is private, run `hf auth login` or set HF_TOKEN"
        ) from error
    except Exception as error:  # the client raises its own, httpx's and the system's errors
        raise HubUnreachableError(f"the Hugging Face Hub did not serve it ({reason(error)})") from error
