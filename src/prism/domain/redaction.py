"""Removes secrets from texts before people, logs, spans or callers see them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias
from urllib.parse import quote, quote_plus, unquote

from prism.domain.settings import settings_of
from prism.ports import Health, PrismError

Redact: TypeAlias = Callable[[str], str]
"""Returns a text without its secrets; `str` where none are known."""

REDACTED = "***"
"""Replaces a secret in a text."""

MIN_SECRET_LENGTH = 4
"""Shorter secrets are not searched for: they would match inside ordinary words."""

# Greedy up to the last @ before a space or a quote, because a password may contain
# an @: hiding too much is better than hiding too little.
_PASSWORD = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://[^\s:/@'"]*):([^\s'"]*)@""", re.IGNORECASE)
# A single word before the @ is a user name or a token (NATS).
_TOKEN = re.compile(r"""([a-z][a-z0-9+.-]{0,30}://)([^\s:/@'"]+)@""", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:password|passwd|secret|token)=)([^&\s'\"]+)", re.IGNORECASE
)

_BETWEEN_URLS = re.compile(r",(?=\s*[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_USERINFO = re.compile(r"://(?:[^:/@]*:)?(?P<secret>.+)@", re.DOTALL)


class Redactor:
    """Redacts credentials in URLs, and every secret registered with it.

    Secrets registered later apply to everything that already holds the redactor.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.register(secrets)

    def register(self, secrets: Iterable[str]) -> None:
        """Redact these secrets too from now on, in each form in which they may appear."""
        new = {
            form for each in secrets if len(each) >= MIN_SECRET_LENGTH for form in _forms_of(each)
        }
        if new <= self._known:
            return
        self._known |= new
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def register_settings(self, settings_type: type[object], texts: Mapping[str, str]) -> None:
        """Redact the secrets among a driver's settings, and the credentials in their URLs."""
        for field in settings_of(settings_type):
            text = texts.get(field.name)
            if text is not None:
                self.register(credentials_in(text))
                if field.secret:
                    self.register((text,))

    def __call__(self, text: str) -> str:
        text = redact_urls(text)
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def redact_urls(text: str) -> str:
    """Return the text with the credentials in its URLs redacted."""
    if "://" not in text:
        return text
    text = _TOKEN.sub(rf"\1{REDACTED}@", text)
    text = _PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return _PARAMETER.sub(rf"\1{REDACTED}", text)


def credentials_in(text: str) -> Iterator[str]:
    """Yield the passwords and tokens in the URLs of a setting, as written and decoded."""
    for url in _BETWEEN_URLS.split(text):
        # The whole text is a URL, so quotes, spaces and commas are part of the user info.
        found = [match["secret"] for match in _USERINFO.finditer(url)]
        found += [match[2] for match in _PARAMETER.finditer(url)]
        for secret in found:
            yield secret
            yield unquote(secret)


def redact_health(health: Health, redact: Redact) -> Health:
    """Return the health with its message and details redacted."""
    details = {name: redact(str(text)) for name, text in health.details.items()}
    return Health(health.status, redact(health.message), details)


def redact_error(error: PrismError, redact: Redact) -> None:
    """Redact the error's message in place, because its raiser re-raises this same object."""
    error.message = redact(error.message)
    error.args = (error.message,)


def _forms_of(secret: str) -> Iterator[str]:
    """Yield the secret as a setting, a URL, `repr` and JSON write it."""
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield repr(secret.encode())[2:-1]
    yield json.dumps(secret)[1:-1]
