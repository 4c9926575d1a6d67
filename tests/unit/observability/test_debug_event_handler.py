"""Log records as debug events."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from prism.adapters.observability.logging import DebugEventHandler
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel
from prism.domain.redaction import Redactor


class Log:
    """Logger, with the debug events made of its records."""

    def __init__(self) -> None:
        self.events = DebugEventBuffer()
        self.redactor = Redactor()
        self.handler = DebugEventHandler(self.events, self.redactor)
        self.logger = logging.getLogger("tests.debug_log")
        self.logger.addHandler(self.handler)
        self.logger.setLevel(logging.DEBUG)

    def taken(self) -> DebugEvent:
        event = self.events.take()
        assert event is not None
        return event


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    yield log
    log.logger.removeHandler(log.handler)


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (logging.INFO, DebugLevel.INFO),
        (logging.WARNING, DebugLevel.WARNING),
        (logging.ERROR, DebugLevel.ERROR),
        (logging.CRITICAL, DebugLevel.ERROR),
    ],
)
def test_a_record_becomes_an_event_of_its_level(log: Log, number: int, level: DebugLevel) -> None:
    log.logger.log(number, "connected to %s", "it", extra={"attempt": 2, "left_out": None})
    event = log.taken()
    assert (event.kind, event.level, event.message) == (DebugKind.LOG, level, "connected to it")
    assert event.details == {"attempt": "2", "logger": "tests.debug_log"}


def test_debug_records_become_no_events(log: Log) -> None:
    log.logger.debug("ignored")
    assert log.events.take() is None


def test_secrets_in_message_and_details_are_redacted(log: Log) -> None:
    log.redactor.register(["swordfish"])
    log.logger.info("swordfish at redis://user:pass@host", extra={"word": "swordfish"})
    event = log.taken()
    assert event.message == "*** at redis://user:***@host"
    assert event.details["word"] == "***"


def test_an_exception_adds_its_type_but_no_stack(log: Log) -> None:
    try:
        raise ConnectionError("with the password")
    except ConnectionError:
        log.logger.exception("it failed")
    event = log.taken()
    assert event.details["error"] == "ConnectionError"
    assert "password" not in str(event)


def test_a_record_that_cannot_be_formatted_raises_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.logger.info("%d keys", "many")
    assert log.events.take() is None
