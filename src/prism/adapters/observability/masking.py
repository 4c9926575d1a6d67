"""Hides the secrets in text that people and logs get to see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

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

_BETWEEN_URLS = re.compile(r",(?=\s*[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_USERINFO = re.compile(r"://(?:[^:/@]*:)?(?P<secret>.+)@", re.DOTALL)


def mask_urls(text: str) -> str:
    """The text with what identifies somebody in its URLs hidden."""
    if "://" not in text:
        return text
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text)


def credentials_in(text: str) -> Iterator[str]:
    """Passwords and tokens in the URLs of a setting, as they stand there and decoded."""
    for url in _BETWEEN_URLS.split(text):
        # Nothing but a URL, so quotes, blanks and commas do not end what comes before the @.
        told = [found["secret"] for found in _USERINFO.finditer(url)]
        told += [found[2] for found in _PARAMETER.finditer(url)]
        for each in told:
            yield each
            yield unquote(each)


class Mask:
    """Hides what `mask_urls` hides, and the secrets that are known, wherever they stand.

    Whoever holds one need not be told when another secret becomes known.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these too from now on."""
        new = {form for each in secrets if len(each) >= SHORTEST for form in _forms(each)}
        if new <= self._known:
            return
        self._known |= new
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        text = mask_urls(text)
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _forms(secret: str) -> Iterator[str]:
    """As it stands in a setting, in a URL, and in what `repr` or a log makes of it."""
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield repr(secret.encode())[2:-1]
    yield json.dumps(secret)[1:-1]
