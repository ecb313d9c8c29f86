"""What the commands share: options, tables, JSON and the boundary of errors."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadfast.cli._errors import resumable, user_errors
from steadfast.errors import SteadfastError
from steadfast.messages import printable
from steadfast.strict_files import finite

if TYPE_CHECKING:
    from steadfast.graders import AnyJudgeConfig, Judge

__all__ = [
    "BUDGET_HELP",
    "JUDGE_HELP",
    "AsJson",
    "DomainsFile",
    "PersonasFile",
    "TemplateArguments",
    "TraitsFile",
    "check_known",
    "echo",
    "json_object",
    "judge_config",
    "made_judge",
    "note",
    "print_json",
    "print_rows",
    "problem",
    "resumable",
    "user_errors",
]

JUDGE_HELP = (
    "embedded, embedded-plain, provider/model (openai/..., anthropic/..., google/..., vllm/..., ollama/..., or hf/PATH "
    "for local weights; keys and addresses come from the provider's environment variables or a .env file; put "
    "',structured=false' after it for a provider that takes no JSON schema), package.module:Class, or a YAML or JSON "
    "file with a judge's config."
)
BUDGET_HELP = "The number of calls that a provider/model judge may make at most; repairs of unreadable replies count."

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TraitsFile = Annotated[
    Path | None,
    typer.Option("--traits", help="Traits of your own, added to those that ship: a YAML file of id to description."),
]
DomainsFile = Annotated[
    Path | None,
    typer.Option("--domains", help="Domains of your own, added to those that ship: a YAML file of id to description."),
]
PersonasFile = Annotated[
    Path | None,
    typer.Option(
        "--personas-file", help="Personas of your own, added to those that ship: a YAML file, a list of them."
    ),
]
TemplateArguments = Annotated[
    str | None,
    typer.Option(
        "--chat-template-kwargs", help='What the chat template is given, as JSON: {"enable_thinking": false}.'
    ),
]

_NOT_FOR_TERMINALS = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON lets through unescaped and a terminal obeys, or no file can hold."""


def echo(text: str) -> None:
    """Print text as it is: no markup is read in it, and nothing in it can drive the terminal."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """Say something that the user should know, on the error stream."""
    typer.secho(f"note: {printable(text)}", fg=typer.colors.YELLOW, err=True)


def problem(text: str) -> None:
    """Name a fault, on the error stream."""
    typer.secho(printable(text), fg=typer.colors.RED, err=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, with null for a number that is not finite, which JSON does not know."""
    text = json.dumps(finite(value), indent=indent, ensure_ascii=False)
    typer.echo(_NOT_FOR_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, title: str) -> None:
    """Print rows as a table with their number, or as a JSON array.

    Args:
        rows: The rows, all with the same keys.
        as_json: Whether to print JSON.
        title: What stands above the table.
    """
    if as_json:
        print_json(rows)
        return
    table = Table(title=_cell(f"{title} ({len(rows)})"), title_justify="left")
    for column in rows[0] if rows else []:
        table.add_column(_cell(column), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console().print(table)


def _cell(value: Any) -> Text:
    """A value as text in which no markup is read: an id or an answer may be anything."""
    return Text("" if value is None else f"{value:.3f}" if isinstance(value, float) else printable(str(value)))


def check_known(option: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse an option's value that is none of the known ones.

    Raises:
        SteadfastError: The value is unknown; the option and what it may be are named.
    """
    if value is not None and value not in known:
        raise SteadfastError(f"{option} {value!r} is unknown; known: {', '.join(known)}")


def judge_config(judge: str, **limits: int | None) -> "AnyJudgeConfig":
    """A judge's config from the command line.

    Args:
        judge: Any spelling that `JudgeConfig.parse` reads.
        limits: Limits of what a language model may cost, in place of those of its config; None leaves one as it is.

    Raises:
        JudgeError: There is no such judge, or limits are given for one that makes no calls.
    """
    from steadfast.errors import JudgeError
    from steadfast.graders import JudgeConfig
    from steadfast.graders.config import LLMConfig

    config = JudgeConfig.parse(judge)
    given = {name: value for name, value in limits.items() if value is not None}
    if not given:
        return config
    if not isinstance(config, LLMConfig):
        raise JudgeError(
            f"judge {config.name!r} makes no calls that could be limited; only a 'provider/model' judge does"
        )
    return config.model_copy(update={"limits": config.limits.model_copy(update=given)})


def json_object(option: str, text: str | None) -> dict[str, Any]:
    """An option's value that is a JSON object; an empty one where the option is not given.

    Raises:
        SteadfastError: The text is not JSON, or no object.
    """
    from steadfast.strict_files import parse_json

    try:
        value = parse_json(text or "{}")
    except ValueError as error:
        raise SteadfastError(f"{option}: {text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise SteadfastError(f"{option}: {text!r} is not a JSON object, such as '{{\"enable_thinking\": false}}'")
    return cast("dict[str, Any]", value)


def made_judge(judge: str, **limits: int | None) -> "Judge":
    """The judge that the command line names; see `judge_config`.

    Raises:
        JudgeError: It cannot be made; where a file describes it, the file is named.
    """
    from steadfast.errors import JudgeError
    from steadfast.graders import make_judge

    config = judge_config(judge, **limits)
    try:
        return make_judge(config)
    except JudgeError as error:
        if judge in str(error):
            raise
        raise JudgeError(f"{judge}: {error}") from error
