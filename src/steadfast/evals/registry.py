"""What Inspect finds under `steadfast/...`: the model provider that our logs name."""

from steadfast.evals.local_model import local_model

__all__ = ["local_model"]
