"""What a recipe asks every checkpoint under personas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steadfast.attacks.personas import chosen_personas, load_personas
from steadfast.errors import DataError, RecipeError
from steadfast.evals.measure import Condition, Part
from steadfast.evals.personas import persona_condition

if TYPE_CHECKING:
    from steadfast.study.data import StudyData

_WHERE = "evaluation.personas"


def asked_under_personas(data: "StudyData", parts: Sequence[Part]) -> list[tuple[Condition, list[Part]]]:
    """The conditions of a recipe's personas, each with what is asked under it; none where it names no personas.

    What is asked is the same as under the plain condition, task by task, so that scores can be paired.

    Args:
        data: The recipe's data.
        parts: What every checkpoint is measured on.

    Raises:
        RecipeError: A persona, a wording or a suite is not there, or nothing would be asked.
    """
    chosen = data.recipe.evaluation.personas
    if chosen is None:
        return []
    asked = _asked(data, parts)
    return [(condition, asked) for condition in data.persona_conditions]


def persona_conditions(data: "StudyData") -> list[Condition]:
    """The conditions of a recipe's personas: wording by wording, in the order in which the recipe names them.

    Raises:
        RecipeError: The file of personas is faulty, or a persona or a wording is not there.
    """
    chosen = data.recipe.evaluation.personas
    if chosen is None:
        return []
    try:
        known = load_personas(chosen.file, data.taxonomy)
    except DataError as error:
        raise RecipeError("\n".join(f"{_WHERE}.file: {p}" for p in error.problems)) from error
    style = data.recipe.training.style
    try:
        personas = chosen_personas(known, chosen.names)
    except DataError as error:
        raise RecipeError("\n".join(f"{_WHERE}.names: {p}" for p in error.problems)) from error
    try:
        return [
            persona_condition(persona, number, style)
            for persona in personas
            for number in dict.fromkeys(chosen.wordings or range(1, len(persona.wordings) + 1))
        ]
    except DataError as error:
        raise RecipeError("\n".join(f"{_WHERE}.wordings: {p}" for p in error.problems)) from error


def _asked(data: "StudyData", parts: Sequence[Part]) -> list[Part]:
    chosen = data.recipe.evaluation.personas
    assert chosen is not None
    others = {p.suite.name: p for p in parts if p.suite.kind != "twins"}
    if unknown := [n for n in chosen.evals or () if n not in others]:
        raise RecipeError(
            f"{_WHERE}.evals: {unknown[0]!r} is not measured by this recipe, so nothing could be held against it; "
            f"measured are: {', '.join(others) or 'none'}"
        )
    names = [n for n, p in others.items() if p.suite.kind == "eval"] if chosen.evals is None else chosen.evals
    twins = [p for p in parts if p.suite.kind == "twins"] if chosen.twins else []
    if not isinstance(chosen.twins, bool):
        twins = data.on_rungs(twins, chosen.twins, f"{_WHERE}.twins")
    asked = [*(others[n] for n in dict.fromkeys(names)), *twins]
    if not asked:
        raise RecipeError(f"{_WHERE}: nothing is asked under personas; name suites in evals, or set twins to true")
    return asked
