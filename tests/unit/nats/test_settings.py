"""Settings that cannot work are refused, with what is allowed and without secrets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.nats import NatsSettings
from prism.adapters.nats.credentials import tls_of
from prism.ports import InvalidArgument

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a bucket with a dot": ({"bucket": "a.b"}, "bucket"),
    "an empty bucket": ({"bucket": ""}, "bucket"),
    "a long bucket": ({"bucket": "b" * 65}, "bucket"),
    "two replicas": ({"replicas": 2}, "1, 3 or 5"),
    "no time": ({"timeout": timedelta()}, "more than zero"),
    "no time to connect": ({"connect_timeout": timedelta()}, "more than zero"),
    "a certificate alone": ({"tls_cert": Path("cert.pem")}, "given together"),
    "a user alone": ({"user": "anna"}, "given together"),
}

BAD_URLS = ["", ",", "127.0.0.1:4222", "http://anna:hunter2@h", "nats://", "nats://h:port",
            "nats://one,two", "nats://anna:hunter2@", "nats://anna:12/hunter2@h",
            "nats://h?hunter2", "nats://h#hunter2"]  # fmt: skip


@pytest.mark.parametrize(("settings", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_setting_that_cannot_work_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        NatsSettings(**settings)


@pytest.mark.parametrize("url", BAD_URLS)
def test_malformed_url_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT") as refusal:
        NatsSettings(url=url)
    assert "hunter2" not in refusal.value.message


def test_addresses_have_no_credentials() -> None:
    settings = NatsSettings(url="nats://anna:hunter2@one:4223, tls://two")
    assert settings.addresses == "one:4223, two:4222"


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_tls_is_used_if_a_url_asks_for_it(scheme: str) -> None:
    tls = tls_of(NatsSettings(url=f"{scheme}://one"))
    assert (tls is not None) is (scheme == "tls")
