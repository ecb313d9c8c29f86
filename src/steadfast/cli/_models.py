"""Looking at a checkpoint: sample."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import AsJson, user_errors

app = typer.Typer()


@app.command()
@user_errors
def sample(
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    model: Annotated[str | None, typer.Option(help="Folder or hub name; default SmolLM2-135M-Instruct.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of a trained adapter.")] = None,
    count: Annotated[int, typer.Option(help="Answers to sample.", min=1)] = 1,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", min=0)] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="Limit.", min=1)] = 128,
    style: Annotated[str | None, typer.Option(help="Instruction on form, in the system turn.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Look at what a checkpoint says."""
    from steadfast.models.generate import answer_prompt

    answers = answer_prompt(
        prompt,
        model=model,
        adapter=adapter,
        count=count,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        style=style,
        seed=seed,
    )
    if as_json:
        typer.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for answer in answers:
        typer.echo(answer["answer"] + ("" if answer["finished"] else " [...]") + "\n")
