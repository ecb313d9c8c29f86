"""Looking at a checkpoint: sample."""

from typing import Annotated

import typer

from steadfast.cli._doctor import AdapterName, Device, Dtype, ModelName, Revision, TrustRemoteCode
from steadfast.cli._shared import AsJson, TemplateArguments, echo, json_object, note, print_json, user_errors

app = typer.Typer()


@app.command()
@user_errors
def sample(
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    model: ModelName = None,
    adapter: AdapterName = None,
    count: Annotated[int, typer.Option(help="The number of answers to sample.", min=1)] = 1,
    temperature: Annotated[float, typer.Option(help="The temperature; 0 takes the likeliest token.", min=0)] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="The limit of an answer, in tokens.", min=1)] = 128,
    style: Annotated[str | None, typer.Option(help="An instruction on form, in the system turn.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the sampling.")] = 0,
    dtype: Dtype = "float32",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    chat_template_kwargs: TemplateArguments = None,
    as_json: AsJson = False,
) -> None:
    """Look at what a checkpoint says."""
    given = json_object("--chat-template-kwargs", chat_template_kwargs)
    from steadfast.models.generate import answer_prompt
    from steadfast.models.pretrained import DEFAULT_MODEL, load_model

    loaded = load_model(
        model or DEFAULT_MODEL,
        dtype=dtype,
        device=device,
        revision=revision,
        trust_remote_code=trust_remote_code,
        chat_template_kwargs=given,
    )
    answers = answer_prompt(
        loaded,
        prompt,
        adapter=adapter,
        count=count,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        style=style,
        seed=seed,
    )
    if as_json:
        print_json(answers)
        return
    for sentence in loaded.chat.notes:
        note(sentence)
    for answer in answers:
        echo(answer["answer"] + ("" if answer["finished"] else " [...]") + "\n")
