"""A persona as a condition: how a checkpoint is asked under one of its wordings."""

from collections.abc import Iterable, Mapping, Sequence

from steadfast.attacks.personas import Persona, chosen_personas
from steadfast.errors import DataError
from steadfast.evals.measure import Condition
from steadfast.evals.rows import PERSONA
from steadfast.graders.protocol import protocol_hash
from steadfast.tasks.programs import program_hashes


def persona_condition(persona: Persona, wording: int, style: str | None = None) -> Condition:
    """The condition `persona:NAME/WORDING`.

    Args:
        persona: The persona.
        wording: The number of its wording, from 1.
        style: The style that the plain condition has, so that the two differ in the persona alone.

    Raises:
        DataError: The persona has no such wording.
    """
    if not 1 <= wording <= len(persona.wordings):
        raise DataError(
            [f"persona {persona.name!r} has no wording {wording}; it has {len(persona.wordings)}, counted from 1"]
        )
    text = persona.wordings[wording - 1]
    return Condition(f"{PERSONA}{persona.name}/{wording}", style, persona=text, followed=persona.check)


def parse_persona(spelled: str, known: Sequence[Persona]) -> Condition:
    """The condition that NAME or NAME/WORDING spells; a name alone means its first wording.

    Raises:
        DataError: There is no such persona or wording.
    """
    name, slash, number = spelled.partition("/")
    (persona,) = chosen_personas(known, [name])
    if slash and not (number.isascii() and number.isdigit()):
        raise DataError([f"persona {spelled!r}: after the slash stands a wording's number, such as {name}/2"])
    return persona_condition(persona, int(number) if slash else 1)


def personas_protocol(conditions: Iterable[Condition]) -> Mapping[str, Mapping[str, str]]:
    """What each persona is and what decides the numbers under it, by the condition's name.

    Returns:
        For each condition under a persona its `kind`, "hostile" or "benign", and as `protocol` the hash of the
        persona's text and its check.
    """
    found: dict[str, Mapping[str, str]] = {}
    for condition in conditions:
        if condition.persona is not None:
            check = condition.followed
            settings = {
                "text": condition.persona,
                "check": None if check is None else check.model_dump(mode="json"),
                "programs": program_hashes([check.program] if check is not None and ":" in check.program else []),
            }
            kind = "hostile" if check is None else "benign"  # a persona has a check if, and only if, it is benign
            found[condition.name] = {"kind": kind, "protocol": protocol_hash(condition.name, settings)}
    return found
