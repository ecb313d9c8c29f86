"""The command line: thin commands, a few lines around a package's function each.

Heavy imports wait until a command needs them, so that `--help` and the listings answer at once.
"""

import warnings

import typer

from steadfast.cli import _analysis, _corpus, _doctor, _evals, _judges, _models, _score, _study

# transformers and peft warn about one another's deprecations, which a user can do nothing about.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)")

app = typer.Typer(
    name="steadfast",
    help="Train a language model's beneficial traits, measure how far the change spreads, see what it costs.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (_study, _corpus, _judges, _evals, _analysis, _models, _score, _doctor):
    app.add_typer(module.app)
