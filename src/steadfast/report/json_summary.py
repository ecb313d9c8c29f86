"""A run's headline numbers are given as JSON by `steadfast report --json` and inside the page."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steadfast.report.judged import constants_table, standings
from steadfast.report.ladder import Ladder, ladders
from steadfast.report.ladder_words import primary_sentence
from steadfast.report.loading import Run, load_run
from steadfast.report.persistence.inputs import inputs_of_run
from steadfast.report.persistence.section import Persistence, persistence_json, persistence_of
from steadfast.report.structure import StructureAnalysis, structure_json, structure_of_run
from steadfast.report.summary import CheckpointComparison, all_comparisons
from steadfast.report.training import trained_amounts
from steadfast.report.wording import headline, scored_by
from steadfast.strict_files import finite


def summarize(directory: Path) -> dict[str, Any]:
    """Collect the headline numbers of a finished run, ready for JSON. NaN is null; scores and shares lie in [0, 1].

    Raises:
        SteadfastError: The run is unfinished, or a file of it cannot be read.
    """
    run = load_run(directory)
    lasting = persistence_of(run, inputs_of_run(run))
    return summary_json(run, all_comparisons(run), structure_of_run(run), ladders(run), lasting)


def summary_json(
    run: Run,
    comparisons: list[CheckpointComparison],
    structure: StructureAnalysis | None,
    found: Sequence[Ladder],
    lasting: Persistence | None,
) -> dict[str, Any]:
    """Collect what `summarize` does, for a run that is already read and analysed."""
    lead = comparisons[0]
    return finite(
        {
            "run": run.recipe.name,
            "about": run.recipe.about,
            "question": run.recipe.arm(lead.treatment).question,
            "headline": headline(lead),
            "scored": scored_by(lead),
            "model": run.recipe.model.name,
            "steps": run.recipe.training.steps,
            "share": run.recipe.share,
            "seeds": list(run.recipe.seeds),
            "seconds": sum(run.timing.sessions),
            "seconds_by_part": dict(run.timing.parts),
            "protocol": dict(run.protocol),
            "ungraded": sum(run.ungraded_results.values()),
            "ungraded_results": run.ungraded_results,
            "ungraded_rollouts": run.ungraded_rollouts,
            "trained": [asdict(amount) for amount in trained_amounts(run)],
            "primary": primary_sentence(run, found),
            "ladders": [asdict(ladder) for ladder in found],
            "persistence": None if lasting is None else persistence_json(lasting),
            "judged": [asdict(one) for one in standings(run)],
            "constants": constants_table(run),
            "comparisons": [{**asdict(v), "scope": v.scope.model_dump(mode="json")} for v in comparisons],
            "structure": None if structure is None else structure_json(structure),
        }
    )
