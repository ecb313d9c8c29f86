"""A strong model writes more trait data: its drafts are compared with every pool, criticised and mended."""

from steadfast.synthesis.calls import ProviderError, open_model
from steadfast.synthesis.duplicates import Pool
from steadfast.synthesis.plan import Slot, plan
from steadfast.synthesis.prompts import version
from steadfast.synthesis.provenance import Record, Store, provenance_path
from steadfast.synthesis.run import Report, synthesize

__all__ = [
    "Pool",
    "ProviderError",
    "Record",
    "Report",
    "Slot",
    "Store",
    "open_model",
    "plan",
    "provenance_path",
    "synthesize",
    "version",
]
