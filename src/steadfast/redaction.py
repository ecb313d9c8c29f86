"""Keys are taken out of text from elsewhere: a provider's error may echo the key that it was called with."""

import os
import re
from urllib.parse import quote

_HIDDEN = "[redacted]"

_SECRET_NAME = re.compile(r"(?:KEY|(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?))(?:_\w+)?$", re.IGNORECASE)
"""Environment variables with such a name hold a secret."""

_SHORTEST = 8
"""A secret has at least this many letters: a shorter value, such as "false", may be an ordinary word."""

_SECRET_SHAPE = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:
        (?:sk|pk|rk|xai|gsk|hf|r8|ghp|gho|ghs|glpat|xox[bap])[-_][A-Za-z0-9_\-*.]{8,}   # OpenAI's kind and its like
      | AIza[A-Za-z0-9_-]{20,}                                                          # Google
      | (?:AKIA|ASIA)[A-Z0-9]{16}                                                       # Amazon
      | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*                       # a JSON web token
    )
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                                   # a password in an address
    """,
    re.VERBOSE,
)
_SECRET_FIELD = re.compile(
    r"""((?:\bbearer|\bbasic)\s+|\b(?:x-)?api[-_ ]?key["']?\s*[:=]\s*["']?)[A-Za-z0-9._~+/=*-]{8,}""", re.IGNORECASE
)


def redacted(text: str) -> str:
    """Return the text with "[redacted]" in place of every secret.

    Secrets are the values of environment variables that are named like keys (as they are and as they stand in an
    address), and whatever has the shape of a known provider's key, of a bearer token or of a password in an address.
    """
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _SECRET_FIELD.sub(rf"\1{_HIDDEN}", _SECRET_SHAPE.sub(_HIDDEN, text))


def _secrets() -> set[str]:
    values = {
        value.strip()
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value.strip()) >= _SHORTEST
    }
    return values | {quote(value, safe="") for value in values}
