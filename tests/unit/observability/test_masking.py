"""Secrets in text, those included that nobody knew of when it all began."""

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
from prism.adapters.observability.masking import MASK, Mask, credentials_in
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.ports import DriverSpec, setting

AWKWARD = "p@ss:w/rd%+ \\'\"\n\u00fcnd mehr"


@pytest.mark.parametrize(
    "form",
    [str, repr, json.dumps, quote, lambda text: quote(text, safe=""), lambda text: text.encode()],
)
def test_a_secret_is_hidden_in_whichever_form_it_stands(form: Callable[[str], object]) -> None:
    masked = Mask([AWKWARD])(f"said {form(AWKWARD)} and no more")
    assert "mehr" not in masked
    assert MASK in masked
    assert masked.endswith("and no more")


def test_of_two_secrets_where_one_begins_the_other_neither_shows() -> None:
    assert Mask(["hunter", "hunter2!"])("hunter2! and hunter") == f"{MASK} and {MASK}"


def test_what_is_learnt_later_is_hidden_by_whoever_holds_the_mask() -> None:
    mask = Mask()
    assert mask("hunter2!") == "hunter2!"
    mask.learn(["hunter2!", "abc"])
    assert mask("hunter2! abc") == f"{MASK} abc"


@pytest.mark.parametrize("password", ["p'a\"ss", "pa,ss", "pa ss", "pa@ss", "pa/ss:word"])
@pytest.mark.parametrize("user", ["me", ""])
def test_a_password_is_found_in_a_url_whatever_it_holds(user: str, password: str) -> None:
    url = f"fake://{user}:{password}@host:1/0"
    assert password in credentials_in(url)
    assert password in credentials_in(f"fake://other:one@first:1, {url}")
    assert "one" in credentials_in(f"fake://other:one@first:1, {url}")


def test_a_url_without_credentials_has_none() -> None:
    assert list(credentials_in("redis://127.0.0.1:6379/0,redis://[::1]:6380")) == []


@dataclass(frozen=True, slots=True)
class TalkativeSettings:
    url: str = setting("fake://localhost", help="Where it is.")
    password: str = setting("", help="Of no use.", secret=True)


class Talkative(Memstore):
    """Tells all that it is told, and then fails or does not."""

    async def initialize(self, settings: TalkativeSettings) -> None:  # type: ignore[override]
        logging.getLogger("prism.talkative").info("told: %s", settings)
        if "refused" in settings.password:
            raise RuntimeError(f"{settings.password} is refused")
        await super().initialize(MemstoreSettings())


@pytest.fixture
def log() -> Iterator[Any]:
    """A mask, and what is logged through it."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    mask, stream = Mask(), io.StringIO()
    configure("json", fields={}, mask=mask, stream=stream)
    yield mask, stream
    root.handlers[:] = before
    logging.captureWarnings(False)


@pytest.mark.parametrize("password", ["hunter2-accepted", "hunter2-refused"])
async def test_a_secret_that_comes_by_an_initialize_command_is_hidden_from_then_on(
    log: Any, password: str
) -> None:
    mask, stream = log
    spec = DriverSpec("talkative", "1", "", TalkativeSettings, Talkative, DRIVER.capabilities)
    container = Container(configuration=Configuration(ServeSettings(), spec, {}), mask=mask)
    lifecycle = container.lifecycle()
    settings = {"url": "fake://me:hunter3!@host", "password": password}
    try:
        await lifecycle.initialize(settings)
    except RuntimeError:
        logging.getLogger("prism.test").exception("it failed")
    health = await lifecycle.health()
    await lifecycle.stop()
    assert f"password='{MASK}'" in stream.getvalue()
    for secret in ("hunter2", "hunter3"):
        assert secret not in stream.getvalue()
        assert secret not in health.message
