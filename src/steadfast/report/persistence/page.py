"""What the page shows of the persistence section: sentences, figures and tables, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from steadfast.report.loading import Run
from steadfast.report.persistence.attack import AttackResult
from steadfast.report.persistence.figures import attack_figure, persona_figure
from steadfast.report.persistence.section import Persistence, shown_checkpoints
from steadfast.report.persistence.tables import (
    Table,
    learning_table,
    persona_tables,
    primary_table,
    retention_table,
    spread_table,
    starts_table,
    wear_tables,
)
from steadfast.report.persistence.words import (
    before_sentence,
    coherence_sentence,
    depth_sentence,
    difference_sentence,
    primary_sentence,
    selective_sentences,
    spread_sentences,
    starts_sentences,
    take_sentence,
    wear_sentences,
)
from steadfast.report.svg import Picture

_KINDS = {"harmful": "fine-tuning on", "careful": "fine-tuning on", "inverted": "RL with flipped rewards:"}


@dataclass(frozen=True)
class Part:
    """A part of the section.

    Attributes:
        title: Its heading.
        sentences: What is shown and what is not: a label and a sentence each.
        picture: Its figure; None for none.
        tables: Its tables.
        gaps: What could not be computed, and why.
    """

    title: str
    sentences: tuple[tuple[str, str], ...]
    picture: Picture | None
    tables: tuple[Table, ...]
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The section: the gate's sentence, if there is one, and its parts."""

    gate: str | None
    parts: tuple[Part, ...]


def section_of(run: Run, found: Persistence) -> Section:
    """Put the section's numbers into sentences, figures and tables."""
    arms = shown_checkpoints(run)
    controls = {a.attack.control for a in found.attacks}
    parts = [_attack(found, a, arms) for a in found.attacks if a.attack.name not in controls]
    if found.personas is not None:
        parts.append(_personas(found, arms))
    if found.wear or found.wear_gaps:
        tables = tuple(wear_tables(found.wear, found.words))
        said = tuple(("What is left", s) for s in wear_sentences(found.wear, found.lead))
        parts.append(Part("Ordinary wear", said, None, tables, found.wear_gaps))
    return Section(found.gate, tuple(parts))


def _attack(found: Persistence, result: AttackResult, arms: Sequence[str]) -> Part:
    words = found.words[result.headline]
    careful = found.attack(result.attack.control)
    line = result.line(result.headline, found.lead)
    effect = result.effect(result.headline, found.lead, line.doses[-1]) if line else None
    said = [
        ("Did it take", take_sentence(result)),
        ("Equal depth", depth_sentence(result, found.lead)),
        ("The pre-RL model", before_sentence(result, words)),
        ("Primary contrast", primary_sentence(result, result.primary, found.lead, words)),
        ("The drop", difference_sentence(result, effect, found.lead, words)),
        *(("Emergent spread", s) for s in spread_sentences(result, found.lead, found.words)),
        ("Coherence", coherence_sentence(result, found.words)),
        *(("From the same level", s) for s in starts_sentences(result.starts)),
    ]
    tables = [
        primary_table(result),
        retention_table(result, words),
        spread_table(result, found.words),
        starts_table(result),
        learning_table(result),
        _folded(retention_table(careful, words), "The control on careful answers") if careful else None,
    ]
    gaps = dict.fromkeys((*result.gaps, *(careful.gaps if careful else ())))
    return Part(
        title=f"Attack by {_KINDS[result.attack.kind]} {result.attack.name}",
        sentences=tuple((label, s) for label, s in said if s),
        picture=attack_figure(result, careful, arms, words),
        tables=tuple(t for t in tables if t is not None),
        gaps=tuple(gaps),
    )


def _folded(table: Table, caption: str) -> Table:
    return Table(table.name, f"{caption}. {table.caption}", table.head, table.rows, table.notes, folded=True)


def _personas(found: Persistence, arms: Sequence[str]) -> Part:
    people = found.personas
    assert people is not None
    shown = [r for r in people.each if r.measure is not None and r.measure == people.measure]
    labels = ("Selective, first half", "Selective, second half")
    drawn = persona_figure(shown, arms, found.words[people.measure]) if shown and people.measure else None
    return Part(
        title="Personas",
        sentences=tuple(zip(labels, selective_sentences(found), strict=False)),
        picture=drawn,
        tables=tuple(persona_tables(people, found.words)),
        gaps=people.gaps,
    )
