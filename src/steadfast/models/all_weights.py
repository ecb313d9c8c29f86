"""All weights of a model lie in one file, and are put in the place of a model's for a while."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Size, Tensor
from transformers import PreTrainedModel

from steadfast.errors import ModelLoadError
from steadfast.models.adapters import Undo
from steadfast.models.boundary import loading
from steadfast.models.prepack import prepack_frozen_linears

WEIGHTS_FILE = "weights.safetensors"


def save_weights(weights: Mapping[str, Tensor], directory: Path) -> None:
    """Write a model's parameters by their names; one that two modules share is written once."""
    save_file({name: tensor.detach().contiguous() for name, tensor in weights.items()}, directory / WEIGHTS_FILE)


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Size]:
    """Return the shape of each tensor by its name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


@contextmanager
def weights_of(lm: PreTrainedModel, directory: Path) -> Generator[PreTrainedModel]:
    """Within this context a model has the weights that lie in a folder; afterwards it is what it was, bit for bit.

    Args:
        lm: The model, of the same architecture. It may be prepacked, and is then prepacked with these weights too.
        directory: The folder with the file that `save_weights` wrote.

    Raises:
        ModelLoadError: The file is damaged, or its weights are not those of this architecture; the model is left as
            it was.
    """
    file = directory / WEIGHTS_FILE
    with loading("the weights", directory):
        saved = load_file(file)
    parameters = dict(lm.named_parameters())
    if shapes(saved) != shapes(parameters):
        odd = sorted(set(saved) ^ set(parameters)) or [n for n in saved if saved[n].shape != parameters[n].shape]
        raise ModelLoadError(f"{file} does not hold the weights of this model; they differ at {odd[0]}")
    before = Undo(lm)
    try:
        before.detach_weights(list(lm.modules()))
        for name, parameter in parameters.items():
            parameter.data = saved[name].to(parameter.device, parameter.dtype)
        if before.was_packed:
            prepack_frozen_linears(lm)
        yield lm
    finally:
        before.restore()
