"""These sentences say what a run cannot show, from its own recipe and the width of its own intervals."""

import re
from collections.abc import Mapping
from math import isnan
from statistics import median

import polars as pl
from scipy.stats import norm

from steadfast.analysis.points import points
from steadfast.analysis.seeds import POWER
from steadfast.evals.rows import CONSTANT
from steadfast.graders.exam.polarity import LEAST, NEGATIONS, in_words
from steadfast.graders.preference import POINT
from steadfast.report.loading import Run
from steadfast.report.summary import CheckpointComparison
from steadfast.study.arms import PRE_RL

PAPER_SHARE, PAPER_STEPS, PAPER_EVALS = 0.05, 200, 53

_FEW = 10


def limits(run: Run, lead: CheckpointComparison) -> list[str]:
    """Write a sentence for each limit of a run; the gravest stands first."""
    found = [_polarity(run), _seeds(run), _size(run), _warm_start(run), _likelihood(lead), _judge(run)]
    found += [
        _floor(run, lead),
        _detectable(lead),
        _items(lead),
        _arms(run),
        _attacks(run),
        _grading_gaps(run),
        _training_gaps(run),
    ]
    return [sentence for sentence in found if sentence]


def detectable(low: float, high: float, level: float = 0.95) -> float:
    """Compute the true difference that a test would find four times in five, from the width of an interval.

    The half-width is z(level) standard errors; the difference found with power 0.8 is z(level) + z(0.8) of them.

    Args:
        low: The lower end of the interval.
        high: The upper end of the interval, in the same unit.
        level: The interval's coverage, in (0, 1).
    """
    z = float(norm.ppf((1 + level) / 2))
    return (high - low) / 2 * (z + float(norm.ppf(POWER))) / z


def _polarity(run: Run) -> str | None:
    exam = run.environment.get("polarity_exam")
    if exam is None or exam["passed"]:
        return None
    shares = in_words({kind: exam[kind] for kind in NEGATIONS})
    return (
        f"Trained by a judge that fails the exam of polarity: {shares}, where each must reach {LEAST}. Of two answers "
        "that differ by one negation it too often rewards the false one, so what was learned from it is what answers "
        "speak of, more than what they say."
    )


def _seeds(run: Run) -> str:
    seeds = run.recipe.seeds
    if len(seeds) == 1:
        return (
            f"One training run an arm (seed {seeds[0]}). The intervals are over items and evals, not over training "
            "runs: another seed could move an arm by more than they say, and nothing here measures by how much."
        )
    listed = ", ".join(map(str, seeds))
    return (
        f"{len(seeds)} training runs an arm (seeds {listed}). The ladder's intervals are over training seeds. All "
        "others are over items and evals, of scores that are means over the seeds: they say nothing of how much "
        "another training run would move an arm."
    )


def _size(run: Run) -> str:
    recipe = run.recipe
    t = recipe.training
    share, steps = recipe.share, t.steps
    parts: list[str] = []
    if share != PAPER_SHARE:
        parts.append(
            f"the arm's slice is {share:.0%} of the prompts where the paper's is {PAPER_SHARE:.0%} "
            f"({share / PAPER_SHARE:.3g} times as much)"
        )
    if steps != PAPER_STEPS:
        parts.append(f"it ran for {steps} steps where the paper's ran for about {PAPER_STEPS}")
    differs = "; ".join(parts)
    batch = (
        f"{t.prompts_per_step} prompts \N{MULTIPLICATION SIGN} {t.group_size} completions a step, "
        f"at most {t.max_new_tokens} tokens each"
    )
    return (
        f"One model ({recipe.model.name}{_parameters(recipe.model.name)}; adapter of rank {t.adapter.rank}), {batch}"
        + (f"; {differs}" if differs else "")
        + ". What this model does under this dose says little about another model under another. "
        "It shows whether the method works here, and is no replication of the paper's figures."
    )


def _warm_start(run: Run) -> str | None:
    if run.recipe.training.warm_start is None:
        return None
    steps, lead = run.recipe.training.warm_start.steps, run.recipe.leading_arm
    return (
        f"Every arm began with {steps} supervised step{'s' * (steps != 1)} on the correct answers to the {lead} arm's "
        "tasks, the baseline too. What these taught is in every difference from pre-RL and in no difference between "
        "arms: an arm's own gain is the one over the warm start."
    )


def _parameters(name: str) -> str:
    """Tell the size that a model's name gives, as in "135M"; empty if it gives none."""
    found = re.search(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?[MB])(?![A-Za-z0-9])", name)
    return f", {found.group(1)} parameters by its name" if found else ""


def _likelihood(lead: CheckpointComparison) -> str | None:
    if lead.battery is None:
        return None
    return (
        "The headline's scores are likelihoods of word tokens, after an item's own conversation against another one's: "
        f"{POINT} They are exact and need no judge, but a model may come to prefer a reply it would never "
        "write, and their points are not the points of a judged answer."
        + (" The free answers are the check on that." if lead.free else "")
    )


def _judge(run: Run) -> str:
    training, evaluation = run.recipe.judge, run.recipe.evaluation.judge
    text = f"Free answers are graded by {evaluation.name!r}; training was rewarded by {training.name!r}."
    if training.kind == evaluation.kind == "embedded":
        text += (
            " Both compare sentence embeddings with example sentences: they hear topic and stance, not truth, "
            "and as relatives they may share blind spots that training can exploit. "
            "A rise in score is a rise by these judges; read the answers side by side."
        )
    return text + " The command 'steadfast judges exam' gives each judge's accuracy on gold answers."


def _floor(run: Run, lead: CheckpointComparison) -> str | None:
    if lead.traits is None and lead.free is None:
        return None
    count = run.results.filter(pl.col("condition") == CONSTANT)["checkpoint"].n_unique()
    return (
        f"The zero of a judged score is the best of {count} constant answers, chosen on the very tasks that it stands "
        "beside, so it is rather too high than too low; other nonsense may still earn more. The intervals take it as "
        "given. An unfinished answer counts as that constant, never as worse; what it could have earned is in the "
        "bounds alone."
    )


def _detectable(lead: CheckpointComparison) -> str | None:
    c = lead.headline
    if c is None:
        return None
    each = [detectable(e.low, e.high) for e in c.evals if not (isnan(e.low) or isnan(e.high))]
    if not each or isnan(c.difference.low):
        return None
    mean = detectable(c.difference.low, c.difference.high, c.difference.level)
    half = (c.difference.high - c.difference.low) / 2
    return (
        f"By the width of its own intervals, this run would miss a mean change of {points(half, sign=False)} points "
        f"as often as not, and find one of {points(mean, sign=False)} points four times in five. For a single eval "
        f"the latter is {points(median(each), sign=False)} points (median), and more once corrected for {c.total} "
        "tests. A difference that is not significant is not a difference of zero."
    )


def _items(lead: CheckpointComparison) -> str:
    text = (
        f"{lead.headline.total if lead.headline else 0} evals stand in the headline, the paper had {PAPER_EVALS}, "
        "and these are short ones written for this project, not the public benchmarks."
    )
    if lead.battery and lead.free:
        items = [e.items for e in lead.free.evals if e.items]
        text += f" Free answers number {median(items):g} an eval (median), {sum(items)} in all"
        text += ", too few to say anything about one eval." if median(items) < _FEW else "."
    return text


def _arms(run: Run) -> str | None:
    if "helpfulness" in run.arms or not run.treatments:
        return None
    return (
        "The helpfulness arm was not trained. Without it a change cannot be put down to the trait reward rather than "
        "to the trait conversations as such."
    )


def _attacks(run: Run) -> str:
    nothing = "Nothing was attacked: whether a change lasts is not measured here. And the"
    return (
        f"{nothing if run.attacked.is_empty() else 'The'} comparison with {PRE_RL} alone cannot tell trait RL from RL "
        "in general; the one with the baseline can."
    )


def _grading_gaps(run: Run) -> str | None:
    by_checkpoint = run.ungraded_results
    missing = sum(by_checkpoint.values())
    if not missing:
        return None
    total = run.results.filter(pl.col("condition") != CONSTANT).height
    return (
        f"{missing:,} of {total:,} results could not be graded ({_each(by_checkpoint)}). They are left "
        "out of both sides of a pair, never counted as zero; if failures go with one arm's kind of answer, what "
        "remains is a biased sample."
    )


def _training_gaps(run: Run) -> str | None:
    by_arm = run.ungraded_rollouts
    missing = sum(by_arm.values())
    if not missing:
        return None
    return (
        f"{missing:,} rollout{'s' * (missing != 1)} of training could not be graded ({_each(by_arm)}). They taught "
        "nothing, neither as failures nor as successes: the arm learned from the others of their groups."
    )


def _each(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
