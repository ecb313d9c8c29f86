"""The command line: thin commands, a few lines around a package's function each.

Heavy imports wait until a command needs them, so that `--help` and the listings answer at once.
"""

import io
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from steadfast import __version__
from steadfast.cli import (
    _analysis,
    _check,
    _corpus,
    _doctor,
    _evals,
    _judges,
    _models,
    _personas,
    _probe,
    _score,
    _study,
    _suites,
)
from steadfast.cli._errors import debugging, user_errors
from steadfast.errors import SteadfastError

# transformers and peft warn about one another's deprecations, which a user can do nothing about.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)")


class _Group(TyperGroup):
    """The commands, whose every word is printed as UTF-8."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        _print_utf8()
        return super().main(*args, **kwargs)


app = typer.Typer(
    name="steadfast",
    cls=_Group,
    help="Train a language model's beneficial traits, measure how far the change spreads, see what it costs.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    _study,
    _corpus,
    _check,
    _judges,
    _evals,
    _suites,
    _personas,
    _analysis,
    _models,
    _score,
    _probe,
    _doctor,
):
    app.add_typer(module.app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"steadfast {__version__}")
        raise typer.Exit


@app.callback()
@user_errors
def begin(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="STEADFAST_DEBUG", help="Show the traceback of a bug.")
    ] = False,
) -> None:
    """What happens before every command."""
    debugging.set(debug)
    _read_dotenv()
    sys.path.append(str(Path.cwd()))  # a user's module:function may lie where she works; it never hides a package


def _print_utf8() -> None:
    """Print UTF-8 whatever the terminal says of itself: what is printed may be in any script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _read_dotenv() -> None:
    """Take environment variables from the nearest .env file upwards, as Inspect does, before anything reads them.

    A variable that is set already stays as it is. In VS Code the file's value counts, because VS Code has read the file
    itself and would keep what it said before an edit.

    Raises:
        SteadfastError: The file cannot be read.
    """
    from dotenv import find_dotenv, load_dotenv

    if not (file := find_dotenv(usecwd=True)):
        return
    try:
        load_dotenv(file, override=_in_vscode())
    except (UnicodeDecodeError, OSError) as error:
        raise SteadfastError(f"{file}: cannot be read ({error}); save it as UTF-8, or move it away") from error


def _in_vscode() -> bool:
    marks = ("VSCODE_IPYTHON_KERNEL", "VSCODE_CLI_REQUIRE_TOKEN", "VSCODE_PID", "VSCODE_CWD")
    return os.environ.get("TERM_PROGRAM") == "vscode" or any(mark in os.environ for mark in marks)
