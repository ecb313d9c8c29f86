"""These are the errors that a user can mend: each says where the fault is and what to do."""

from collections.abc import Sequence


class SteadfastError(Exception):
    """Something went wrong that the user can put right; the command line prints it without a traceback."""


class DataError(SteadfastError):
    """A data file is at fault; all its faults are listed in one go."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__("\n".join([f"{count} problem{'s' * (count != 1)} found:", *self.problems]))

    def __reduce__(self) -> tuple[type["DataError"], tuple[list[str]]]:
        """Let the error come whole from one process to another."""
        return type(self), (self.problems,)


class RecipeError(SteadfastError):
    """The recipe cannot be run as written, or its directory holds a run under another protocol."""


class ModelNotFoundError(SteadfastError):
    """There is no model or adapter of that name, or none that can be loaded or asked."""


class ModelLoadError(ModelNotFoundError):
    """The files of a model or an adapter are there, but they are damaged, incomplete or of a kind that is not read."""


class ChatTemplateError(ModelNotFoundError):
    """A conversation cannot be rendered rightly with this model's chat template."""


class UnsupportedModelError(SteadfastError):
    """The model's architecture cannot be sampled from, scored or trained rightly here."""


class JudgeError(SteadfastError):
    """A judge cannot be made or may not grade here, or answered something that is no grade."""


class TrainingError(SteadfastError):
    """Training cannot go on without learning something wrong, or nothing; what was saved before is whole."""


class PublicEvalError(SteadfastError):
    """A public benchmark cannot run here; the message says what it would need."""
