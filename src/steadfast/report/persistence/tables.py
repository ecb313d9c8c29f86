"""The persistence section's tables, as words in cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from steadfast.analysis.bootstrap import Interval
from steadfast.analysis.differences import Contrast
from steadfast.analysis.equivalence import Equivalence
from steadfast.analysis.fieller import Retention
from steadfast.analysis.points import bounds, points
from steadfast.report.persistence.attack import AttackResult
from steadfast.report.persistence.measures import COHERENCE, Key
from steadfast.report.persistence.personas import Personas, Under
from steadfast.report.persistence.wear import Wear, Worn
from steadfast.report.persistence.words import value
from steadfast.report.wording import direction, no_interval, over_units, probability

_SHORT: dict[Key, str] = {"finished": "finished", "sound": "not empty or looping", "capability": "capability"}


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        name: Its id on the page.
        caption: What it shows.
        head: The heads of its columns; the first one's cells are the rows' heads.
        rows: Its rows [rows, columns].
        notes: Sentences under it.
        folded: Whether it is shown only when asked for.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


def learning_table(result: AttackResult) -> Table | None:
    """How deeply every checkpoint learned an attack; None where it has no held-out loss."""
    rows = [
        (
            one.checkpoint,
            f"{one.dose}",
            f"{one.before:.3f}",
            f"{one.after:.3f}",
            f"{one.learned.estimate:.3f} {_plain_bounds(one.learned, one.seeds, one.over)}",
            _seeds(one.seeds, one.over),
        )
        for one in result.learning
    ]
    head = ("checkpoint", "updates", "loss before", "loss after", "fall", "n")
    caption = "Did the attack take: its held-out loss, in nats a token."
    return Table(f"learned-{result.attack.name}", caption, head, tuple(rows), folded=True) if rows else None


def _plain_bounds(found: Interval, seeds: int, over: str) -> str:
    if found.low != found.low:
        return no_interval(seeds, over)
    return f"[{found.low:.3f}, {found.high:.3f}]"


def primary_table(result: AttackResult) -> Table | None:
    """(arm - baseline) x (harmful - careful) by dose; None without a careful twin."""
    contrasts = {(p.arm, p.dose): p.contrast for p in result.primary if p.measure == result.headline}
    rows: list[tuple[str, ...]] = []
    for e in result.effects:
        if e.measure != result.headline or e.beyond is None:
            continue
        against = contrasts.get((e.checkpoint, e.dose))
        found = against or e.beyond
        rows.append(
            (
                e.checkpoint,
                f"{e.dose}",
                value(e.beyond),
                _marked(against) if against else "",
                probability(against.p) if against else "",
                _count(found),
            )
        )
    head = ("checkpoint", "updates", "harmful less careful", "the same less the baseline's", "p", "n")
    caption = (
        "The harm in the answers: the level after the harmful answers less that after the careful ones, and how much "
        "less of it an arm lost than the baseline."
    )
    return _without_empty(Table(f"primary-{result.attack.name}", caption, head, tuple(rows))) if rows else None


def retention_table(result: AttackResult, words: str) -> Table:
    """Level, drop, difference in differences, share of the gain and coherence, checkpoint by checkpoint."""
    coherence = [k for k in COHERENCE if any(x.measure == k for x in result.lines)]
    rows: list[tuple[str, ...]] = []
    reasons: list[str] = []
    for line in (x for x in result.lines if x.measure == result.headline):
        for place, (dose, found) in enumerate(zip(line.doses, line.levels, strict=True)):
            effect = result.effect(result.headline, line.checkpoint, dose)
            left = effect.retention if effect else None
            if left is not None and left.share is None:
                reasons.append(f"{line.checkpoint}: {left.reason}.")
            rows.append(
                (
                    line.checkpoint if place == 0 else "",
                    f"{dose}",
                    over_units(found, line.seeds, line.over, sign=False),
                    value(effect.drop) if effect else "",
                    _marked(effect.difference) if effect and effect.difference else "",
                    share(left) if left else "",
                    *(_coherence(result, key, line.checkpoint, dose) for key in coherence),
                    _n(line.items, line.seeds, line.over, line.dropped, line.missing),
                )
            )
    over = "after the same dose" if result.reference_attacked else "untouched"
    shares = (
        f" The share of the gain is over the pre-RL model, {over}, with Fieller's interval." if result.halves else ""
    )
    beside = (
        " Beside each level stands coherence, in points too: what is no answer holds no trait." if coherence else ""
    )
    caption = f"What is left: {words}.{shares}{beside}"
    head = ("checkpoint", "updates", "level", "drop", "smaller than the baseline's by", "of the gain left")
    notes = [f"No share is given where it would mean nothing. {r}" for r in dict.fromkeys(reasons)]
    notes += _halves(result)
    head = (*head, *(_SHORT[k] for k in coherence), "n")
    return _without_empty(Table(f"retention-{result.attack.name}", caption, head, tuple(rows), tuple(notes)))


def _halves(result: AttackResult) -> list[str]:
    found: list[str] = []
    for half in result.halves:
        if half.by_dose is None:
            continue
        found.append(f"{half.arm}: {half.by_dose.sentence}")
        # Where there is no gain to halve, saying so once is enough.
        if half.by_learning is not None and half.by_dose.half is not None:
            found.append(f"{half.arm}, by what was learned: {half.by_learning.sentence}")
    return found


def _coherence(result: AttackResult, key: Key, checkpoint: str, dose: int) -> str:
    line = result.line(key, checkpoint)
    if line is None or dose not in line.doses:
        return ""
    return points(line.levels[line.doses.index(dose)].estimate, sign=False)


def starts_table(result: AttackResult) -> Table | None:
    """The checkpoints among which one was chosen to start where the baseline does; None without a choice."""
    start = result.starts.start if result.starts else None
    if start is None:
        return None
    rows = tuple(
        (name, points(level, sign=False), points(level - start.target), "yes" if name == start.checkpoint else "")
        for name, level in start.levels.items()
    )
    caption = (
        "Which checkpoint stood where the baseline did before the attack, on the half of the items that chooses: the "
        f"baseline's level there is {points(start.target, sign=False)}."
    )
    head = ("checkpoint", "level", "above the baseline by", "chosen")
    return Table(f"starts-{result.attack.name}", caption, head, rows, folded=True)


def spread_table(result: AttackResult, words: dict[Key, str]) -> Table | None:
    """Every other measure at the largest dose, coherence last; None where nothing else was measured."""
    rows: list[tuple[str, ...]] = []
    for line in result.lines:
        if line.measure == result.headline:
            continue
        dose = line.doses[-1]
        effect = result.effect(line.measure, line.checkpoint, dose)
        if effect is None:
            continue
        levels = [over_units(v, line.seeds, line.over, sign=False) for v in (line.levels[0], line.levels[-1])]
        rows.append(
            (
                words[line.measure],
                line.checkpoint,
                f"{dose}",
                *levels,
                value(effect.drop),
                _marked(effect.difference) if effect.difference else "",
                _n(line.items, line.seeds, line.over, line.dropped, line.missing),
            )
        )
    head = ("measure", "checkpoint", "updates", "before", "after", "drop", "smaller than the baseline's by", "n")
    caption = "How far it spreads, and coherence, with intervals: every other measure after the largest dose."
    made = Table(f"spread-{result.attack.name}", caption, head, tuple(rows), folded=True)
    return _without_empty(made) if rows else None


def _without_empty(table: Table) -> Table:
    """The table without the columns in which nothing stands, as those of arms where none was attacked."""
    kept = [i for i, cells in enumerate(zip(*table.rows, strict=True)) if any(cells)]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return replace(table, head=tuple(table.head[i] for i in kept), rows=rows)


def share(found: Retention) -> str:
    """Write the share of a gain that is left, with Fieller's interval."""
    if found.share is None:
        return "not given"
    said = f"{found.share.estimate:.0%}"
    if found.hole is not None:
        said = f"{said} [all but {found.hole[0]:.0%} to {found.hole[1]:.0%}]"
    else:
        said += f" [{found.share.low:.0%}, {found.share.high:.0%}]" if found.bounded else " [unbounded]"
    return said.replace("-", "\N{MINUS SIGN}")


def persona_tables(people: Personas, words: dict[Key, str]) -> list[Table]:
    """What each persona took on each measure, and how often benign ones are followed."""
    found: list[Table] = []
    for key in dict.fromkeys(r.measure for r in people.each if r.measure is not None):
        rows = [
            (f"{r.name} ({r.kind})" if place == 0 else "", *_under(u), f"{r.wordings}")
            for r in (*people.each, *([people.hostile] if people.hostile else []))
            if r.measure == key
            for place, u in enumerate(r.under)
        ]
        head = ("persona", "checkpoint", "plain", "under it", "drop", "smaller than the baseline's by", "n", "wordings")
        caption = f"What personas take: {words[key]}. The pre-RL model is one, so its interval is over items."
        notes = () if key != people.measure else ("All hostile: those together that lower the pre-RL model.",)
        name, noted = f"personas-{key}".replace(" ", "-"), notes if people.hostile else ()
        found.append(Table(name, caption, head, tuple(rows), noted, folded=key != people.measure))
    followed = [
        (
            r.name if place == 0 else "",
            f.checkpoint,
            _rate(f.rate),
            *(_same(f.same) if f.same else ("", "")),
            f"{f.items} answers, {_seeds(f.seeds, f.over)}",
        )
        for r in (*people.each, *([people.benign] if people.benign else []))
        for place, f in enumerate(r.followed)
    ]
    if followed:
        caption = (
            "How often benign personas are followed, by program; whether an arm's share is the baseline's within 3 "
            "points by two one-sided tests, and the difference with its 90% interval over training seeds."
        )
        head = ("persona", "checkpoint", "followed", "as the baseline", "difference", "n")
        found.append(Table("followed", caption, head, tuple(followed)))
    return found


def _same(found: Equivalence) -> tuple[str, str]:
    """Whether a share is the baseline's, and the difference with the interval that decides it."""
    said = {"equivalent": "the same", "different": "different", "undecided": "undecided", None: "not tested"}
    return said[found.verdict], over_units(found.difference, found.units, found.over)


def _under(found: Under) -> tuple[str, ...]:
    one = found.drop
    over = one.over_items if one.over == "model" else None
    drop = f"{points(over.estimate)} {bounds(over.low, over.high)}" if over else value(one)
    return (
        found.checkpoint,
        _bare(found.plain),
        _bare(found.level),
        drop + (" over items" if over else ""),
        _marked(found.difference) if found.difference else "",
        _count(one),
    )


def _bare(found: Interval) -> str:
    ends = "" if found.low != found.low else f" {bounds(found.low, found.high)}"
    return points(found.estimate, sign=False) + ends


def _rate(found: Interval) -> str:
    ends = "" if found.low != found.low else f" [{found.low:.0%}, {found.high:.0%}]"
    return f"{found.estimate:.0%}{ends}"


def wear_tables(worn: Sequence[Worn], words: dict[Key, str]) -> list[Table]:
    """What of the gain over the baseline is left under each kind of wear, a table for each measure."""
    found: list[Table] = []
    for key in dict.fromkeys(w.measure for w in worn):
        mine = [w for w in worn if w.measure == key]
        coherence = [k for k in COHERENCE if any(k == c for w in mine for c, _ in w.coherence)]
        rows = [
            (
                wear_words(w.wear),
                w.arm,
                value(w.before),
                value(w.after),
                value(w.change),
                share(w.left),
                *(value(c) if (c := dict(w.coherence).get(k)) else "" for k in coherence),
                _count(w.before),
            )
            for w in mine
        ]
        head = ("wear", "arm", "gain before", "gain after", "change", "of the gain left")
        caption = f"What of the gain over the baseline is left: {words[key]}. The baseline is worn in the same way."
        reasons = dict.fromkeys(f"{w.arm}: {w.left.reason}." for w in mine if w.left.share is None)
        notes = tuple(f"No share is given where it would mean nothing. {r}" for r in reasons)
        names = (f"{_SHORT[k]}, change in the arm" for k in coherence)
        name, columns = f"wear-{key}".replace(" ", "-"), (*head, *names, "n")
        found.append(Table(name, caption, columns, tuple(rows), notes, folded=key != worn[0].measure))
    return found


def wear_words(wear: Wear) -> str:
    """Name a kind of wear."""
    match wear.kind:
        case "fine-tuning":
            return f"fine-tuning on {wear.name}, {wear.dose} updates"
        case "weights":
            return f"weights in {wear.name}"
        case "temperature":
            return f"temperature {wear.name}"
        case "turn":
            return f"turn {wear.name} of a conversation"


def _marked(found: Contrast) -> str:
    """A contrast with a mark where its interval leaves out zero."""
    way = 0 if found.reason else direction(found.over_seeds.low, found.over_seeds.high)
    return {1: "\N{BLACK UP-POINTING TRIANGLE} ", -1: "\N{BLACK DOWN-POINTING TRIANGLE} ", 0: ""}[way] + value(found)


def _count(found: Contrast) -> str:
    return _n(found.items, len(found.seeds), found.over, found.dropped, found.missing)


def _n(items: int, seeds: int, over: str, dropped: int, missing: Iterable[int]) -> str:
    lost = f", {dropped} not graded" if dropped else ""
    left = ", ".join(map(str, missing))
    return f"{items}{lost}, {_seeds(seeds, over)}" + (f", without seed {left}" if left else "")


def _seeds(count: int, over: str) -> str:
    if over == "model":
        return "one model"
    return f"{count} {over.removeprefix('training ')}{'s' * (count != 1)}"
