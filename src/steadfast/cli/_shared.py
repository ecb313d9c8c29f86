"""What every command shares: errors without a traceback, tables or JSON."""

import errno
import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from steadfast.errors import SteadfastError

P = ParamSpec("P")
R = TypeVar("R")

JUDGE_HELP = (
    "embedded, embedded-plain, provider/model (openai/..., anthropic/..., google/..., vllm/..., ollama/..., or hf/PATH "
    "for local weights; keys and addresses come from the provider's environment variables; put ',structured=false' "
    "after it for a provider that takes no JSON schema), package.module:Class, or a YAML or JSON file with its config."
)
BUDGET_HELP = "Most calls a provider/model judge may make; repairs of unreadable replies count."

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def user_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Errors the user can mend are printed without a traceback, with exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SteadfastError as error:
            fail(str(error), error)
        except (OSError, sqlite3.OperationalError) as error:
            if not _disk_is_full(error):
                raise
            fail("the disk is full; nothing written is lost: free some room and run the same command again", error)

    return run


def fail(message: str, cause: Exception) -> NoReturn:
    """End with a message in red and exit code 2."""
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(2) from cause


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "full" in str(error)


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, title: str) -> None:
    """Rows as a table with their number, or as a JSON array."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(title=f"{title} ({len(rows)})", title_justify="left")
    for column in rows[0] if rows else []:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


def check_known(option: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse an option's value that is none of the known ones.

    Raises:
        SteadfastError: naming the option and what it may be.
    """
    if value is not None and value not in known:
        raise SteadfastError(f"{option} {value!r} is unknown; known: {', '.join(known)}")
