"""Behind this boundary every exception of a loader becomes a sentence.

The loaders of transformers, peft, safetensors, tokenizers and torch raise whatever their depths raise. A user who
brings a damaged file should read what is at fault, in which folder, and what to do.
"""

import logging
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from steadfast.errors import ModelLoadError, SteadfastError

_LONGEST_REASON = 300
"""At most this many characters of a library's own message are passed on."""

_LOUD = ("transformers", "torchao", "torch.utils._pytree")
"""These loggers warn of what does not concern a user, such as kernels for GPUs that are not here."""


@contextmanager
def loading(what: str, folder: Path | str) -> Generator[None]:
    """Within this context every exception becomes a `ModelLoadError` that names the folder.

    Args:
        what: What is being loaded, such as "the tokenizer".
        folder: The folder that it lies in.

    Raises:
        ModelLoadError: It takes the place of any exception that is not a `SteadfastError` yet.
    """
    try:
        yield
    except SteadfastError:
        raise
    except Exception as error:
        raise ModelLoadError(f"{what} in {folder} cannot be loaded: {reason(error)}. {_advice(error)}") from error
    except BaseException as error:
        # Code in Rust (tokenizers, safetensors) panics with an exception that is no `Exception`.
        if type(error).__name__ != "PanicException":
            raise
        raise ModelLoadError(f"{what} in {folder} cannot be loaded: {reason(error)}. {_advice(error)}") from error


@contextmanager
def quiet() -> Generator[None]:
    """Within this context transformers, PEFT and torchao print no progress, warnings or reports.

    What matters of them is checked.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: BaseException) -> str:
    """Return what an exception says as one line of bounded length, with its type if the message says little."""
    words = re.sub(r"\s+", " ", "".join(c for c in str(error) if c.isprintable() or c.isspace())).strip(" .")
    if len(words) > _LONGEST_REASON:
        words = words[:_LONGEST_REASON] + " ..."
    if isinstance(error, (OSError, ValueError, RuntimeError)) and len(words.split()) > 3:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _advice(error: BaseException) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "It does not fit into memory: give a smaller --dtype or another --device"
    if isinstance(error, SafetensorError):
        return "The file of the weights is cut off or no safetensors file: fetch or save it again"
    if isinstance(error, PermissionError):
        return "Make its files readable"
    return "Fetch or save it again, or name another folder"
