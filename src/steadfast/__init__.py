"""Train a language model's beneficial traits, measure how far the change spreads, and see what it costs."""

import logging

__version__ = "0.1.0"

# transformers imports torchao where it is installed, which then warns of kernels for GPUs that are not here.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
