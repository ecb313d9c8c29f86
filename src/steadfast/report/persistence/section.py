"""The persistence section's numbers, all of them, from a run that is already read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from steadfast.report.loading import Run
from steadfast.report.persistence.attack import AttackResult, attack_result
from steadfast.report.persistence.inputs import AttackInputs
from steadfast.report.persistence.measures import Key, Measure, coherence_of, measures_of
from steadfast.report.persistence.personas import Personas, personas_of
from steadfast.report.persistence.wear import Worn, worn_of
from steadfast.study.arms import BASELINE, CONTROLS, PRE_RL, WARM_START


@dataclass(frozen=True)
class Persistence:
    """What a run says of whether its training lasts.

    Attributes:
        gate: The sentence that says whether the arms were attacked, and why; None where there is none.
        lead: The arm that the run is about.
        words: What each measure's level is, by key.
        units: What each measure is measured on, by key.
        attacks: The results of harmful fine-tuning, its careful twins and the inverted reward.
        personas: What personas took; None where none was asked under.
        wear: What ordinary wear left.
        wear_gaps: Why something of the wear could not be computed.
    """

    gate: str | None
    lead: str
    words: dict[Key, str]
    units: dict[Key, str]
    attacks: tuple[AttackResult, ...]
    personas: Personas | None
    wear: tuple[Worn, ...]
    wear_gaps: tuple[str, ...] = ()

    def attack(self, name: str | None) -> AttackResult | None:
        """The results of one attack."""
        return next((a for a in self.attacks if a.attack.name == name), None)


def persistence_of(run: Run, given: AttackInputs) -> Persistence | None:
    """Compute the section; None where nothing was attacked, worn or asked under a persona, and no gate speaks.

    Args:
        run: The run.
        given: Which attack is what, and how deeply each was learned.
    """
    lead, checkpoints = run.recipe.leading_arm, shown_checkpoints(run)
    plain, coherence = measures_of(run), coherence_of(run)
    every: list[Measure] = [*plain, *coherence]
    attacks: list[AttackResult] = []
    for attack in given.attacks:
        if attack.kind in ("harmful", "careful", "inverted"):
            measures = measures_of(run, attack.domains) if attack.domains else plain
            every += measures
            found = attack_result(attack, [*measures, *coherence], given.learned, checkpoints, lead)
            attacks += [found] if found else []
    personas = personas_of(run, [*plain, *coherence], checkpoints)
    arms = [a for a in run.treatments if a not in CONTROLS] if BASELINE in run.arms else []
    gaps: list[str] = []
    wear = worn_of([*plain, *coherence], given.attacks, arms, gaps)
    if not (attacks or personas or wear or gaps or given.gate):
        return None
    return Persistence(
        gate=given.gate,
        lead=lead,
        words={m.key: m.words for m in every},
        units={m.key: m.unit for m in every},
        attacks=tuple(attacks),
        personas=personas,
        wear=wear,
        wear_gaps=tuple(dict.fromkeys(gaps)),
    )


def shown_checkpoints(run: Run) -> Sequence[str]:
    """The checkpoints in the order in which they are shown: pre-RL, the baseline, the leading arm, the rest."""
    first = [PRE_RL, BASELINE, run.recipe.leading_arm]
    known = run.checkpoints
    ordered = [n for n in first if n in known] + [n for n in known if n not in first]
    return [n for n in dict.fromkeys(ordered) if n != WARM_START]


def persistence_json(found: Persistence) -> dict[str, Any]:
    """The section's numbers, ready for JSON once what is not finite is null."""
    return asdict(found)
