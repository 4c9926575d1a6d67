"""OpenTelemetry's warnings are limited to one a minute."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from prism.adapters.observability.tracing import otel_log_throttle
from prism.adapters.observability.tracing.otel_log_throttle import OtelLogThrottle
from prism.domain.redaction import Redactor

EXPORTER = logging.getLogger("opentelemetry.exporter.test")


def passed_on(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the records that were passed on; pytest also sees the library's own."""
    return [record for record in caplog.records if record.name == otel_log_throttle.__name__]


@pytest.fixture
def throttle() -> Iterator[OtelLogThrottle]:
    handler = OtelLogThrottle(Redactor())
    handler.open()
    yield handler
    handler.close()


def test_many_warnings_become_one(
    throttle: OtelLogThrottle, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in range(100):
        EXPORTER.warning("cannot reach %s, attempt %d", "host:4317", attempt)
    EXPORTER.error("giving up")
    (record,) = passed_on(caplog)
    assert record.getMessage() == "traces may be lost: cannot reach host:4317, attempt 0"
    assert record.levelname == "WARNING"


def test_the_next_warning_counts_the_suppressed_ones(
    throttle: OtelLogThrottle,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        EXPORTER.warning("no")
    monkeypatch.setattr(otel_log_throttle, "_INTERVAL_S", 0.0)
    EXPORTER.warning("still no")
    assert [vars(record).get("suppressed") for record in passed_on(caplog)] == [None, 2]


def test_secrets_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    handler = OtelLogThrottle(Redactor(["t0ken!"]))
    handler.open()
    EXPORTER.warning("malformed header: t0ken!")
    handler.close()
    assert [record.getMessage()[-5:] for record in passed_on(caplog)] == [": ***"]


def test_after_close_the_library_logs_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    handler = OtelLogThrottle(Redactor())
    handler.open()
    handler.close()
    EXPORTER.warning("mine again")
    assert passed_on(caplog) == []
    assert logging.getLogger("opentelemetry").propagate


def test_the_variable_of_an_http_proxy_is_named_unless_the_proxy_is_not_used(
    throttle: OtelLogThrottle,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otel_log_throttle, "_INTERVAL_S", 0.0)
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    for endpoint in ("http://collector.invalid:4317", "http://[::1]:4317", "unix:/run/otel.sock"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        EXPORTER.warning("no")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.invalid:4317")
    monkeypatch.setenv("no_proxy", ".invalid")
    EXPORTER.warning("no")
    named = ["http_proxy" in record.getMessage() for record in passed_on(caplog)]
    assert named == [True, False, False, False]
