"""How likely a checkpoint finds given replies: score."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from steadfast.cli._doctor import AdapterName, Device, Dtype, ModelName, Revision, TrustRemoteCode
from steadfast.cli._shared import TemplateArguments, json_object, print_rows, user_errors

app = typer.Typer()


@app.command()
@user_errors
def score(
    file: Annotated[Path, typer.Argument(help='JSONL of {"messages": [...], "replies": ["...", ...]}.')],
    model: ModelName = None,
    adapter: AdapterName = None,
    dtype: Dtype = "float32",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    chat_template_kwargs: TemplateArguments = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each line of the file.")] = False,
) -> None:
    """Log-likelihoods of given replies, as the evals compute them.

    Each is the sum over the reply's own tokens of their natural-log probabilities after the rendered conversation.
    The token that would end the turn is not counted.
    """
    given = json_object("--chat-template-kwargs", chat_template_kwargs)
    from steadfast.evals.replies import read_replies, score_replies
    from steadfast.models.pretrained import DEFAULT_MODEL, load_model

    asked = read_replies(file)
    loaded = load_model(
        model or DEFAULT_MODEL,
        dtype=dtype,
        device=device,
        revision=revision,
        trust_remote_code=trust_remote_code,
        chat_template_kwargs=given,
    )
    with nullcontext() if adapter is None else loaded.with_adapter(adapter):
        scored = score_replies(file, asked, loaded)
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
