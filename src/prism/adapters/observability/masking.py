"""Hides the secrets in text that people and logs get to see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

MASK = "***"

SHORTEST = 4
"""Of the secrets that are looked for: a shorter one would be found in every word."""

# Greedy up to the last @ before a space or quote, because a password may hold
# one: too much hidden is better than too little.
_PASSWORD = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://[^\s:/@'"]*):([^\s'"]*)@""", re.IGNORECASE)
# One word before the @ is a user, or a token (NATS).
_TOKEN = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://)([^\s:/@'"]+)@""", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:password|passwd|secret|token)=)([^&\s'\"]+)", re.IGNORECASE
)


def mask_urls(text: str) -> str:
    """The text with what identifies somebody in its URLs hidden."""
    if "://" not in text:
        return text
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text)


def credentials_in(text: str) -> Iterator[str]:
    """Passwords and tokens in the URLs of a setting, as they stand there and decoded."""
    for url in text.split(","):
        for pattern in (_TOKEN, _PASSWORD, _PARAMETER):
            for found in pattern.finditer(url):
                yield found[2]
                yield unquote(found[2])


def mask_of(secrets: Iterable[str]) -> Callable[[str], str]:
    """A mask for what `mask_urls` hides, and for these secrets wherever they stand."""
    known = sorted({each for each in secrets if len(each) >= SHORTEST}, key=len, reverse=True)
    if not known:
        return mask_urls
    pattern = re.compile("|".join(map(re.escape, known)))
    return lambda text: pattern.sub(MASK, mask_urls(text))
