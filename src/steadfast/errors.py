"""The errors a user can mend: each says where the fault is and what to do."""

from collections.abc import Sequence


class SteadfastError(Exception):
    """Something the user can put right; the command line prints it without a traceback."""


class DataError(SteadfastError):
    """A data file is at fault; all its faults are listed in one go."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__("\n".join([f"{count} problem{'s' * (count != 1)} found:", *self.problems]))


class RecipeError(SteadfastError):
    """The recipe cannot be run as written, or its directory holds a run under another protocol."""


class ModelNotFoundError(SteadfastError):
    """No model or adapter under that name, or none that can be loaded or asked."""


class ModelLoadError(ModelNotFoundError):
    """The files of a model or an adapter are there, but they are damaged, incomplete or of a kind that is not read."""


class ChatTemplateError(ModelNotFoundError):
    """A conversation cannot be rendered rightly with this model's chat template."""


class UnsupportedModelError(SteadfastError):
    """A model of an architecture that cannot be sampled from, scored or trained rightly here."""


class EvaluationError(SteadfastError):
    """An evaluation did not finish; Inspect's log, whose place is named, says why."""


class JudgeError(SteadfastError):
    """A judge cannot be made or may not grade here, or answered something that is no grade."""
