"""How likely a checkpoint finds given replies: score."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._shared import check_known, mendable, print_rows

app = typer.Typer()

_DTYPES = ("float32", "bfloat16", "float16")


@app.command()
@mendable
def score(
    file: Annotated[Path, typer.Argument(help='JSONL of {"messages": [...], "replies": ["...", ...]}.')],
    model: Annotated[str | None, typer.Option(help="Folder or hub name; default SmolLM2-135M-Instruct.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of a trained adapter.")] = None,
    dtype: Annotated[str, typer.Option(help=f"Of the weights: {', '.join(_DTYPES)}.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0; default a GPU if there is one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each line of the file.")] = False,
) -> None:
    """Log-likelihoods of given replies, as the evals compute them.

    Each is the sum over the reply's own tokens of their natural-log probabilities after the rendered conversation.
    The token that would end the turn is not counted.
    """
    check_known("--dtype", dtype, _DTYPES)
    from steadfast.evals.replies import read_replies, score_replies

    asked = read_replies(file)
    scored = score_replies(file, asked, model=model, adapter=adapter, dtype=dtype, device=device)
    if as_json:
        for scores in scored.values():
            line = {"logprobs": [s.logprob for s in scores], "tokens": [s.tokens for s in scores]}
            typer.echo(json.dumps(line))
        return
    rows = [
        {"line": number, "reply": _shortened(text), "logprob": s.logprob, "tokens": s.tokens, "per token": s.per_token}
        for number, scores in scored.items()
        for text, s in zip(asked[number].replies, scores, strict=True)
    ]
    print_rows(rows, False, f"log-likelihoods in nats of the replies in {file}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
