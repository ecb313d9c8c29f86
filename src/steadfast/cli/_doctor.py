"""Looking a model over before work begins: doctor."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadfast.cli._shared import AsJson, TemplateArguments, json_object, print_json, user_errors

app = typer.Typer()

ModelName = Annotated[str | None, typer.Option(help="Folder or hub name; default SmolLM2-135M-Instruct.")]
AdapterName = Annotated[str | None, typer.Option(help="Folder or hub name of a LoRA adapter.")]
Dtype = Annotated[str, typer.Option(help="Of the weights: float32, bfloat16, float16 or auto.")]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:1; default a GPU if there is one.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")]

_COLOURS = {"ok": "green", "note": "yellow", "refused": "red"}


@app.command()
@user_errors
def doctor(
    model: ModelName = None,
    adapter: AdapterName = None,
    dtype: Dtype = "float32",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    chat_template_kwargs: TemplateArguments = None,
    as_json: AsJson = False,
) -> None:
    """Look a model over: whether it can be trained and measured rightly here. Exit code 2 if something is refused."""
    given = json_object("--chat-template-kwargs", chat_template_kwargs)
    from steadfast.errors import SteadfastError
    from steadfast.models.doctor import Check, examine, refused
    from steadfast.models.pretrained import DEFAULT_MODEL, load_model

    name = model or DEFAULT_MODEL
    try:
        loaded = load_model(
            name,
            dtype=dtype,
            device=device,
            revision=revision,
            trust_remote_code=trust_remote_code,
            chat_template_kwargs=given,
        )
        checks = examine(loaded, adapter)
    except SteadfastError as error:
        checks = [Check("loading", "refused", str(error), {})]
    if as_json:
        print_json({"model": name, "checks": [asdict(c) for c in checks]})
    else:
        _print(name, [(c.name, c.status, c.sentence) for c in checks])
        for check in checks:
            if rendered := check.figures.get("rendered"):
                typer.echo(f"\nA small conversation as the model is given it:\n{_printable(rendered)}")
    if refused(checks):
        raise typer.Exit(2)


def _print(title: str, rows: list[tuple[str, str, str]]) -> None:
    table = Table(title=Text(title), title_justify="left")
    for column in ("check", "result", "what was found"):
        table.add_column(column, overflow="fold")
    for name, status, sentence in rows:
        # As text: what a model's files say is no markup.
        table.add_row(Text(name), Text(status, style=_COLOURS[status]), Text(_printable(sentence)))
    Console().print(table)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
