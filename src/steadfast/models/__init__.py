"""Find, load, sample from and score with a causal LM and its adapters."""

from steadfast.models.policy import AdapterConfig, AdapterPolicy, FullPolicy, Policy, add_adapter
from steadfast.models.pretrained import DEFAULT_MODEL, LoadedModel, load_model
from steadfast.models.sampling import Completion, Group, sample_groups
from steadfast.models.scoring import CandidateScore, score_candidates

__all__ = [
    "DEFAULT_MODEL",
    "AdapterConfig",
    "AdapterPolicy",
    "CandidateScore",
    "Completion",
    "FullPolicy",
    "Group",
    "LoadedModel",
    "Policy",
    "add_adapter",
    "load_model",
    "sample_groups",
    "score_candidates",
]
