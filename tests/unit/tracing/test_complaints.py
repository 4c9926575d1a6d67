"""What the library complains about is told now and then."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from prism.adapters.observability.tracing import complaints
from prism.adapters.observability.tracing.complaints import Complaints
from prism.domain.redaction import Redactor

EXPORTER = logging.getLogger("opentelemetry.exporter.test")


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log got to hear; pytest listens to the library as well."""
    return [record for record in caplog.records if record.name == complaints.__name__]


@pytest.fixture
def open_complaints() -> Iterator[Complaints]:
    handler = Complaints(Redactor())
    handler.open()
    yield handler
    handler.close()


def test_many_complaints_are_one_warning(
    open_complaints: Complaints, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in range(100):
        EXPORTER.warning("cannot reach %s, attempt %d", "host:4317", attempt)
    EXPORTER.error("giving up")
    (record,) = told(caplog)
    assert record.getMessage() == "traces may be lost: cannot reach host:4317, attempt 0"
    assert record.levelname == "WARNING"


def test_the_next_tells_how_many_went_untold(
    open_complaints: Complaints,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        EXPORTER.warning("no")
    monkeypatch.setattr(complaints, "_EVERY_S", 0.0)
    EXPORTER.warning("still no")
    assert [vars(record).get("untold") for record in told(caplog)] == [None, 2]


def test_a_secret_in_a_complaint_is_hidden(caplog: pytest.LogCaptureFixture) -> None:
    handler = Complaints(Redactor(["t0ken!"]))
    handler.open()
    EXPORTER.warning("malformed header: t0ken!")
    handler.close()
    assert [record.getMessage()[-5:] for record in told(caplog)] == [": ***"]


def test_once_closed_the_library_logs_as_it_likes(caplog: pytest.LogCaptureFixture) -> None:
    handler = Complaints(Redactor())
    handler.open()
    handler.close()
    EXPORTER.warning("mine again")
    assert told(caplog) == []
    assert logging.getLogger("opentelemetry").propagate
