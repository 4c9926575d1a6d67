"""Redaction of secrets, including those that become known later."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.adapters.observability.logging import configure
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.domain.redaction import REDACTED, Redactor, credentials_in
from prism.ports import DriverSpec, setting

AWKWARD = "p@ss:w/rd%+ \\'\"\n\u00fcnd mehr"


@pytest.mark.parametrize(
    "form",
    [str, repr, json.dumps, quote, lambda text: quote(text, safe=""), lambda text: text.encode()],
)
def test_a_secret_is_redacted_in_every_form(form: Callable[[str], object]) -> None:
    redacted = Redactor([AWKWARD])(f"got {form(AWKWARD)} and no more")
    assert "mehr" not in redacted
    assert REDACTED in redacted
    assert redacted.endswith("and no more")


def test_two_secrets_where_one_starts_with_the_other_are_redacted() -> None:
    assert Redactor(["hunter", "hunter2!"])("hunter2! and hunter") == f"{REDACTED} and {REDACTED}"


def test_a_secret_registered_later_is_redacted() -> None:
    redactor = Redactor()
    assert redactor("hunter2!") == "hunter2!"
    redactor.register(["hunter2!", "abc"])
    assert redactor("hunter2! abc") == f"{REDACTED} abc"


@pytest.mark.parametrize("password", ["p'a\"ss", "pa,ss", "pa ss", "pa@ss", "pa/ss:word"])
@pytest.mark.parametrize("user", ["me", ""])
def test_a_password_with_special_characters_is_found_in_a_url(user: str, password: str) -> None:
    url = f"fake://{user}:{password}@host:1/0"
    assert password in credentials_in(url)
    assert password in credentials_in(f"fake://other:one@first:1, {url}")
    assert "one" in credentials_in(f"fake://other:one@first:1, {url}")


def test_a_url_without_credentials_has_none() -> None:
    assert list(credentials_in("redis://127.0.0.1:6379/0,redis://[::1]:6380")) == []


@dataclass(frozen=True, slots=True)
class TalkativeSettings:
    url: str = setting("fake://localhost", help="Address.")
    password: str = setting("", help="Unused.", secret=True)


class Talkative(Memstore):
    """Driver that logs its settings, and fails if the password says so."""

    async def initialize(self, settings: TalkativeSettings) -> None:  # type: ignore[override]
        logging.getLogger("prism.talkative").info("settings: %s", settings)
        if "refused" in settings.password:
            raise RuntimeError(f"{settings.password} is refused")
        await super().initialize(MemstoreSettings())


@pytest.fixture
def log() -> Iterator[Any]:
    """Yield a redactor, and the stream of the log that uses it."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    redactor, stream = Redactor(), io.StringIO()
    configure("json", fields={}, redact=redactor, stream=stream)
    yield redactor, stream
    root.handlers[:] = before
    logging.captureWarnings(False)


@pytest.mark.parametrize("password", ["hunter2-accepted", "hunter2-refused"])
async def test_a_secret_in_an_initialize_command_is_redacted_from_then_on(
    log: Any, password: str
) -> None:
    redactor, stream = log
    spec = DriverSpec("talkative", "1", "", TalkativeSettings, Talkative, DRIVER.capabilities)
    container = Container(configuration=Configuration(ServeSettings(), spec, {}), redactor=redactor)
    lifecycle = container.lifecycle()
    settings = {"url": "fake://me:hunter3!@host", "password": password}
    try:
        await lifecycle.initialize(settings)
    except RuntimeError:
        logging.getLogger("prism.test").exception("it failed")
    health = await lifecycle.health()
    await lifecycle.stop()
    assert f"password='{REDACTED}'" in stream.getvalue()
    for secret in ("hunter2", "hunter3"):
        assert secret not in stream.getvalue()
        assert secret not in health.message
