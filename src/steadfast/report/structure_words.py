"""These sentences say what the structure of the evals shows, and what it cannot show."""

from math import isnan

from steadfast.analysis.structure import NullTest, Structure
from steadfast.report.structure import ENOUGH_CHECKPOINTS, StructureAnalysis, null_interval, number, significant
from steadfast.report.wording import probability

_LARGELY_ONE = 0.5


def verdict(analysis: StructureAnalysis) -> str:
    """Write the answer in one line."""
    mean, first = analysis.plain.mean, analysis.plain.shares[0]
    if significant(mean) and mean.value >= _LARGELY_ONE:
        return "Over these checkpoints the evals move largely as one."
    if significant(mean):
        return "Over these checkpoints the evals share something, and each keeps most of its movement to itself."
    if significant(first):
        return (
            "Over these checkpoints there is a direction that many evals follow, "
            "but some rise along it where others fall: no common rise."
        )
    return "No common movement of the evals is shown, which is no proof that there is none."


def findings(analysis: StructureAnalysis) -> list[str]:
    """Write sentences on the mean correlation, the components, the constructs and capability."""
    of = analysis.plain
    found = [
        f"Over {of.checkpoints} checkpoints and {len(of.columns)} evals the mean rank correlation of two evals is "
        f"{_beside(of.mean)}.",
        f"The first principal component takes {_share(of.shares[0])} of the variance; "
        f"shuffled, {_share_null(of.shares[0])} ({_p(of.shares[0])}).",
    ]
    if sentence := _constructs(of):
        found.append(sentence)
    found.append(_controlled(analysis))
    return [sentence for sentence in found if sentence]


def _beside(test: NullTest) -> str:
    shuffled = f"with each eval's scores shuffled over the checkpoints it is {null_interval(test)}"
    return f"{number(test.value)}; {shuffled} ({_p(test)})"


def _p(test: NullTest) -> str:
    text = probability(test.p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def _share(test: NullTest) -> str:
    return f"{test.value:.1%}"


def _share_null(test: NullTest) -> str:
    return f"{test.low:.1%} to {test.high:.1%}"


def _constructs(of: Structure) -> str | None:
    if isnan(of.contrast.value):
        return None
    text = (
        f"Two evals of the same construct correlate at {number(of.within.value)} on average, two of different "
        f"constructs at {number(of.between.value)}; with constructs dealt out at random the difference is "
        f"{null_interval(of.contrast)} ({_p(of.contrast)})"
    )
    if significant(of.contrast):
        return f"{text}: constructs hold together beyond what all evals share."
    return f"{text}: evals of one construct are not shown to be closer than others."


def _controlled(analysis: StructureAnalysis) -> str:
    of = analysis.controlled
    if of is None:
        why = analysis.uncontrolled_because
        return f"Not controlled for capability: {why}." if why else ""
    text = (
        f"With capability controlled the mean is {number(of.mean.value)}, shuffled {null_interval(of.mean)} "
        f"({_p(of.mean)}), and the first component takes {_share(of.shares[0])}, shuffled {_share_null(of.shares[0])}"
    )
    if significant(analysis.plain.mean) and not significant(of.mean):
        return f"{text}: what the evals share is not shown to be more than capability."
    if significant(of.mean):
        return f"{text}. What is left may still be capability in part: control by ranks does not take away all of it."
    return f"{text}."


def limits(analysis: StructureAnalysis, *, files: int = 1) -> list[str]:
    """Write what cannot be concluded, the gravest limit first.

    Args:
        analysis: The analysis of the structure.
        files: The number of results files that the checkpoints come from.
    """
    of = analysis.plain
    found: list[str] = []
    if of.checkpoints < ENOUGH_CHECKPOINTS:
        found.append(_few(of))
    if files == 1:
        found.append(
            "Checkpoints of one model and one recipe differ in little but the slice and its reward: they show how one "
            "training's effects spread over evals, not whether alignment is one thing among models."
        )
    else:
        found.append(
            f"The checkpoints come from {files} files. Those of one run share a model and most of their training, but "
            "the shuffles take all for independent: intervals may be too narrow."
        )
    found.append(
        "Evals scored in the same way share what is wrong with it. A checkpoint that comes to prefer plainer or "
        "shorter replies moves many evals at once, and looks like a trait here."
    )
    return found


def _few(of: Structure) -> str:
    text = f"{of.checkpoints} checkpoints are few: a correlation has {of.checkpoints - 2} degrees of freedom. "
    if isnan(of.detectable):
        text += "For two given evals even a perfect correlation is not significant at p = 0.05"
    else:
        text += f"For two given evals nothing below {of.detectable:.2f} either way is significant at p = 0.05"
    if not of.controlled:
        text += ", and controlling for capability takes one degree more"
    return f"{text}. Read the mean and the components beside what shuffling gives, and no single cell."


def left_out(analysis: StructureAnalysis) -> list[str]:
    """Write a sentence on each eval, checkpoint or item that the numbers leave out."""
    found: list[str] = []
    constant = [analysis.matrix.columns[i].suite for i in analysis.plain.constant]
    if constant:
        found.append(f"Left out, the same score on every checkpoint: {', '.join(constant)}.")
    if analysis.controlled is not None and (beyond := set(analysis.controlled.constant) - set(analysis.plain.constant)):
        names = ", ".join(analysis.matrix.columns[i].suite for i in sorted(beyond))
        found.append(f"Left out of the controlled figures, in exact order of capability: {names}.")
    for name, lacking in analysis.matrix.left_out.items():
        why = f"ungraded or not measured on {', '.join(lacking)}" if lacking else "no item graded on every checkpoint"
        found.append(f"Left out, {why}: {name}.")
    for name, same in analysis.matrix.repeats.items():
        found.append(f"Left out, every score as in {same!r}: checkpoint {name!r}.")
    dropped = sum(c.dropped for c in analysis.matrix.columns)
    if dropped:
        total = dropped + sum(c.items for c in analysis.matrix.columns)
        found.append(f"{dropped} of {total} items were not graded on every checkpoint and count on none.")
    return found
