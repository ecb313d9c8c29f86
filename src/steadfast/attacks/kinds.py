"""The kinds of attacks, and what the protocol of a run says of one: by that a report knows what was done."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Side = Literal["harmful", "careful"]
Method = Literal["adapter", "full"]
Kind = Side | Literal["inverted", "benign", "weights"]


class AttackInfo(BaseModel):
    """What an attack is, as a run's protocol says it beside the hashes of what it trains on.

    Attributes:
        kind: Whether it trains on harmful answers, on careful ones to the same prompts, by the inverted reward or on
            harmless conversations, or brings the weights into a lesser format and trains nothing.
        control: The name of the attack by careful answers to the same prompts; None if it has none.
        domains: The domains that its examples are of; empty where they name none.
        method: Whether it trains a fresh adapter upon the model, or all of the model's weights.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    control: str | None
    domains: tuple[str, ...]
    method: Method = "adapter"
