"""The check of a twin's answer: one field, exactly right, or nothing."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

PROGRAM = "twin"

NEAR = 0.1
"""A stated probability that is off by this much or more earns nothing."""

_LONGEST_SENTENCE = 25
"""A sentence that states a value may have this many words."""

_DOUBT = re.compile(
    r"n't\b|\b(no|not|never|nor|neither|none|without|wrong|incorrect|false|untrue|instead|rather|but|however|or|if|"
    r"unless|except|maybe|perhaps|may|might|could|would|should|whether|unsure|uncertain|unclear|cannot|sorry|both|than|"
    r"wait|formerly|previously|was|were|wanted|asked|said|says)\b"
)
"""Words by which a sentence takes back, doubts, or reports what it names."""


def check(text: str, args: Mapping[str, Any]) -> float:
    """Score an answer: 1 if it gives the right field and nothing else, else 0.

    The answer may name the field ("Dose: 40 mg") or not, and may stand in quotes or bold type. A number may lack its
    unit. An option may be answered by its letter, or by the letter with the option's own text. A value may also be
    stated in one plain sentence, which names no other value and no other number, and neither denies nor doubts it.
    Anything besides, such as a second value, a negation or a remark, is wrong.

    Args:
        text: The model's answer.
        args: `label`, the field's name, and `right` and `wrong`, the right answers of the twin and of its opposite. For
            multiple choice also `letter`, the right option's. `sentence` is true where the answer is a value, which a
            sentence may state. For a stated probability `probability`, the true one; the score is then the quadratic
            score, rescaled: 1 - ((stated - true) / 0.1)^2, and never below 0.
    """
    field = _field(text, str(args["label"]))
    if "probability" in args:
        return _quadratic(field, float(args["probability"]))
    right = normal(str(args["right"]))
    if "letter" in args:
        letter = normal(str(args["letter"]))
        found = re.fullmatch(r"\(?([a-z])\)?(?:\s*[).:]?\s+(.+))?", field)
        return float(found is not None and found[1] == letter and found[2] in (None, right))
    accepted = {right, _number_of(right)} - {""}
    if field in accepted:
        return 1.0
    return float(bool(args.get("sentence")) and _states(text, accepted, normal(str(args["wrong"]))))


@lru_cache(maxsize=4096)  # a proof checks the same answers on thousands of tasks
def normal(text: str) -> str:
    """The text as it is compared: in small letters, without emphasis, quotes, a last full stop and doubled spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(r"[*`\"\u2018-\u201f]|(?<!\w)['_]|['_](?!\w)", "", plain)
    return " ".join(plain.split()).removesuffix(".").strip()


def _number_of(answer: str) -> str:
    """The number of an answer such as "40 mg": it says as much, since the unit is the question's."""
    found = re.match(r"\d+(?= )", answer)
    return found[0] if found else ""


def _states(text: str, accepted: set[str], wrong: str) -> bool:
    """Whether one plain sentence states an accepted value and nothing that could be another."""
    said = normal(text)
    if not any(value in said for value in accepted):
        return False
    if len(text.strip().splitlines()) != 1 or len(re.findall(r"[.!?:;](?:\s|$)", text.strip())) > 1 or "?" in text:
        return False
    rest = said
    for value in sorted(accepted, key=len, reverse=True):
        rest = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", " ", rest)
    named = rest != said
    others = {wrong, _number_of(wrong)} - {""}
    rivals = any(re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", rest) for value in others)
    return (
        named
        and not rivals
        and re.search(r"\d", rest) is None
        and _DOUBT.search(rest) is None
        and len(said.split()) <= _LONGEST_SENTENCE
    )


def _field(text: str, label: str) -> str:
    field = normal(text)
    for name in (normal(label), "answer"):
        if field.startswith(name) and (found := re.match(r"\s*[:=]\s*", field[len(name) :])):
            return field[len(name) + found.end() :]
    return field


def _quadratic(field: str, probability: float) -> float:
    found = re.fullmatch(r"(\d{1,3})\s*(?:%|percent)?", field)
    if found is None or int(found[1]) > 100:
        return 0.0
    return max(0.0, 1.0 - ((int(found[1]) / 100 - probability) / NEAR) ** 2)
