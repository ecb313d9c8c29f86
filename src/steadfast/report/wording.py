"""This module turns numbers into sentences that fit whatever came out."""

from collections.abc import Sequence
from math import isnan

from steadfast.analysis import Comparison, EvalComparison, Interval
from steadfast.analysis.over_seeds import OverSeeds
from steadfast.analysis.points import bounds, points
from steadfast.messages import printable
from steadfast.report.judged import Judged, Standing
from steadfast.report.summary import CheckpointComparison
from steadfast.study.arms import BASELINE, PRE_RL, WARM_START
from steadfast.tasks.suite import catalogue

BY_LIKELIHOOD = "by what the conversation adds to the likelihood of the good over the tempting bad reply"
BY_ANSWERS = "by free answers, judged, 0 being the best constant answer to each eval"

_KINDS = ("trait:", "capability-", "chat-")


def suite_title(name: str) -> str:
    """Give a suite's title in the catalogue, else its name in words, without the prefix that tells its kind."""
    shipped = next((i.title for i in catalogue() if i.name == name), None)
    if shipped:
        return shipped
    kind = next((k for k in _KINDS if name.startswith(k)), "")
    words = " ".join(printable(name).removeprefix(kind).replace("-", " ").replace("_", " ").split())
    return words if kind else words[:1].upper() + words[1:]


def difference(value: Interval | EvalComparison) -> str:
    """Write a difference with its interval, in points of a hundred."""
    centre = value.difference if isinstance(value, EvalComparison) else value.estimate
    return f"{points(centre)} {bounds(value.low, value.high)}"


def over_units(found: Interval, units: int, over: str = "training seed", *, sign: bool = True) -> str:
    """Write a value in points with its interval over so many units, or why there is none."""
    return f"{points(found.estimate, sign=sign)} {bounds_over(found, units, over)}"


def bounds_over(found: Interval, units: int, over: str = "training seed") -> str:
    """Write an interval over so many units in points, or why there is none."""
    return no_interval(units, over) if isnan(found.low) else bounds(found.low, found.high)


def no_interval(units: int, over: str = "training seed") -> str:
    """What stands in place of an interval: the units all gave the same value, or there is one alone."""
    if units > 1:
        return "[no spread]"
    return {"training seed": "[one training run]", "attack seed": "[one attack]"}.get(over, "[one model]")


def characters(value: EvalComparison) -> str:
    """Write a difference of lengths with its interval, in characters."""
    if isnan(value.low) or isnan(value.high):
        return f"{value.difference:+.0f} [interval unknown: one value]"
    text = f"{value.difference:+.0f} [{value.low:.0f}, {value.high:.0f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def constant(name: str) -> str:
    """Name a constant answer as it stands in a sentence, by the name of its checkpoint."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{name.removeprefix('constant: ')}\N{RIGHT DOUBLE QUOTATION MARK}"


def probability(value: float) -> str:
    """Write a p or q value."""
    if isnan(value):
        return "unknown"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def direction(low: float, high: float) -> int:
    """Give 1 if an interval lies above zero, -1 if below, 0 if it holds zero or is unknown."""
    return 1 if low > 0 else -1 if high < 0 else 0


def the(checkpoint: str) -> str:
    """Name a checkpoint as it stands in a sentence."""
    return {PRE_RL: "the pre-RL model", WARM_START: "the warm start", BASELINE: "the baseline"}.get(
        checkpoint, f"the {checkpoint} arm"
    )


def headline(v: CheckpointComparison) -> str:
    """Write the run's result in one line."""
    c = v.headline
    if c is None:
        where = f" {v.scope.words}" if v.scope.words else ""
        return f"No eval{where} was measured in both {the(v.treatment)} and {the(v.control)}."
    over = f"{_evals(c.total, v.scope.words)}: {difference(c.difference)} points against {the(v.control)}"
    runs = v.headline_over_seeds if v.battery else None
    spread = " One training run: another could differ by more." if v.battery and runs is None else seeds(runs)
    significant = c.significant_wins + c.significant_losses
    way = direction(c.difference.low, c.difference.high)
    if way and not shown_over(runs, way):
        went = "better" if way > 0 else "worse"
        return f"Not shown over training seeds, though by items alone it is {went} on average over {over}.{spread}"
    match way:
        case 1:
            return f"Improved on average over {over}.{spread}"
        case -1:
            return f"Worse on average over {over}.{spread}"
        case _ if significant:
            changed = f"{_of(significant, c.total)} changed significantly"
            return f"Mixed: no average change shown over {over}, but {changed}.{spread}"
        case _:
            return f"No change shown over {over}.{spread}"


def shown_over(found: OverSeeds | None, way: int) -> bool:
    """Say whether an interval over training seeds shows a direction too; True without one, where nothing can tell."""
    return found is None or direction(found.difference.low, found.difference.high) == way


def seeds(found: OverSeeds | None) -> str:
    """Say what a comparison comes to over training seeds, and what they would have found; empty for None."""
    if found is None:
        return ""
    told = f" Over {found.seeds} training seeds it is {over_units(found.difference, found.seeds)}"
    if found.detectable is None:
        return f"{told}: it is the same with each, which says nothing of other seeds."
    return f"{told}; they find a change of {points(found.detectable, sign=False)} points four times in five."


def counts(v: CheckpointComparison, c: Comparison, words: str) -> str:
    """Say how many evals rose and fell, how many of them significantly, and what the mean change is."""
    higher = f"{_evals(c.total, words)} scored higher than {the(v.control)}"
    rose = f"{c.wins or 'None'} of {higher}{_significantly(c.wins, c.significant_wins)}"
    fell = f"{c.losses or 'none'} lower{_significantly(c.losses, c.significant_losses)}"
    ties = f"; {c.ties} the same" if c.ties else ""
    return f"{rose}; {fell}{ties}. The mean change is {difference(c.difference)} points."


def traits(v: CheckpointComparison, before: CheckpointComparison | None) -> str | None:
    """Say how the held-out trait score moved, by each way of scoring it; None if it was not measured."""
    t = v.traits
    if t is None:
        return None
    moved = {1: "is higher", -1: "is lower", 0: "does not differ detectably"}[direction(t.low, t.high)]
    text = (
        f"On {t.items} held-out trait scenarios the score {moved}: {t.control:.3f} in {the(v.control)}, "
        f"{t.treatment:.3f} in {the(v.treatment)}, {difference(t)} points by the evaluation judge, {_scale(t)}"
    )
    if other := v.traits_by_training_judge:
        text += f"; {difference(other)} by the judge that trained"
    if other := v.traits_choice:
        text += f"; {difference(other)} by what the scenario adds to the likelihood of gold answers, without a judge"
    if v.traits_words and v.traits_ends:
        text += (
            f" ({difference(v.traits_words)} by their word tokens, {difference(v.traits_ends)} by punctuation and end "
            "tokens, with no other conversation taken off)"
        )
    if before and before.traits:
        b = before.traits
        text += f". From {the(before.control)}: {b.control:.3f} to {b.treatment:.3f}, {difference(b)}"
    return f"{text}.{_unfinished(v, t)}"


def _scale(t: Judged) -> str:
    """Say what the zero of a judged score is, and what the judge itself gave."""
    raw = f"as judged {t.raw.control:.3f} and {t.raw.treatment:.3f}"
    if t.constant is None:
        return f"with an unknown floor, since no constant answer could be graded ({raw})"
    return f"where 0 is the best constant answer, {constant(t.constant)}, which earns {t.floor:.3f} ({raw})"


def _unfinished(v: CheckpointComparison, t: Judged) -> str:
    """Say what unfinished answers count as and what they leave open; empty where there are none."""
    if not any(t.unfinished):
        return ""
    b = t.bounds
    return (
        " An unfinished answer counts as the best constant. Whatever they would have earned, the change lies between "
        f"{points(b.low)} and {points(b.high)} points (95% from {points(b.interval_low)} to "
        f"{points(b.interval_high)}): {the(v.control)} between {b.control[0]:.3f} and {b.control[1]:.3f}, "
        f"{the(v.treatment)} between {b.treatment[0]:.3f} and {b.treatment[1]:.3f}."
    )


def floor(s: Standing) -> str:
    """Say whether a checkpoint's judged answers exceed the best constant answer."""
    who = the(s.checkpoint)
    if s.constant is None:
        return f"No constant answer could be graded, so what the score of {who} is worth is unknown."
    always = f"always answering {constant(s.constant)}"
    if isnan(s.rescaled):
        return f"On {s.measure} {always} earns the highest score, so {who} cannot exceed it and nothing is shown there."
    verdict = "exceeds" if s.above else "does worse than" if s.below else "does not detectably exceed"
    return (
        f"On {s.measure} {who} {verdict} {always}: {points(s.rescaled)} {bounds(s.low, s.high)} points of the way from "
        f"there ({s.floor:.3f}) to the highest score, over {s.items} tasks."
    )


def floors(found: Sequence[Standing], checkpoint: str) -> str | None:
    """Say in how many judged suites of evals a checkpoint exceeds the best constant answer; None without any."""
    own = [s for s in found if s.checkpoint == checkpoint]
    if not own:
        return None
    above = sum(s.above for s in own)
    return (
        f"In {above or 'none'} of {len(own)} judged eval{_s(len(own))} {the(checkpoint)} detectably exceeds the best "
        "constant answer to the eval."
    )


def cautions(v: CheckpointComparison) -> list[str]:
    """Write what stands between the numbers and the obvious reading of them."""
    t = v.traits
    if t is None or v.treatment == BASELINE:
        return []
    found: list[str] = []
    if direction(t.low, t.high) != 1:
        found.append(
            "The trait itself did not rise detectably on unseen scenarios. Whether it would carry over to other evals "
            "is therefore hardly tested by this run: changes elsewhere, or their absence, may have other causes."
        )
    if v.standing and not v.standing.above:
        found.append(
            f"{floor(v.standing)} A difference between checkpoints that say no more than a constant answer does is no "
            "evidence of a trait."
        )
    cut = v.traits_cut_off
    if cut and direction(cut.low, cut.high):
        found.append(
            f"The two sides differ in how many held-out answers were cut off: {cut.control:.0%} in {the(v.control)}, "
            f"{cut.treatment:.0%} in {the(v.treatment)}. {_left_open(t)}"
        )
    return found


def _left_open(t: Judged) -> str:
    way = direction(t.bounds.low, t.bounds.high)
    if way:
        return f"Whatever the unfinished ones would have earned, the trait score {'rose' if way > 0 else 'fell'}."
    return (
        "The unfinished ones count as the best constant answer; had they been finished, the trait score could have "
        f"risen or fallen, between {points(t.bounds.low)} and {points(t.bounds.high)} points."
    )


def cost(v: CheckpointComparison, before: CheckpointComparison | None) -> str:
    """Write a sentence each on capability, refusals and truncation."""
    parts: list[str] = []
    if c := v.capability:
        way = direction(c.difference.low, c.difference.high)
        verdict = {1: "rose", -1: "fell", 0: "shows no detectable change"}[way]
        if way and not shown_over(v.capability_over_seeds, way):
            verdict += " by items alone, though not over training seeds"
        text = f"Capability over {c.total} task{_s(c.total)} {verdict}, {difference(c.difference)} points"
        if way == 0 and c.difference.low < 0:
            text += f"; a loss of {points(-c.difference.low, sign=False)} points is not ruled out"
        if before and before.capability:
            text += f"; against {the(before.control)} {difference(before.capability.difference)}"
        parts.append(f"{text}.{seeds(v.capability_over_seeds)}")
        if way == -1 and v.control == BASELINE:
            parts.append(
                "The baseline practised such tasks in place of the arm's slice, so part of the gap is practice."
            )
    for what, value in (
        ("Refusals on the evals' free answers", v.refusal),
        ("Refusals of everyday requests", v.chat_refusal),
        ("Answers cut off by the token limit", v.cut_off),
    ):
        if value:
            parts.append(
                f"{what}: {value.treatment:.1%} against {value.control:.1%}, {difference(value)} points "
                f"({value.items} answers)."
            )
    if v.length:
        parts.append(
            f"Mean length of an answer: {v.length.treatment:.0f} characters against {v.length.control:.0f}, "
            f"{characters(v.length)}."
        )
    return " ".join(parts) if parts else "Nothing that would show a cost was measured."


def scored_by(v: CheckpointComparison) -> str:
    """Say what the headline's scores are."""
    return BY_LIKELIHOOD if v.battery else BY_ANSWERS


def _evals(count: int, words: str) -> str:
    return f"{count} eval{_s(count)}{' ' + words if words else ''}"


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _significantly(count: int, significant: int) -> str:
    return f", {significant or 'none'} significantly" if count else ""
