from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from time import perf_counter_ns

import pytest

from prism.adapters.grpc import request_log
from prism.adapters.grpc.calls import failure_status
from prism.adapters.grpc.request_log import LINES, RequestLog
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    Internal,
    InvalidArgument,
    NotServing,
    Unauthenticated,
    VersionConflict,
)

PATH = "/prism.v1.KeyValueService/Get"


def fail(log: RequestLog, error: Exception, path: str = PATH) -> None:
    log.failed(path, failure_status(error), error, perf_counter_ns())


@pytest.fixture(autouse=True)
def debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, request_log.__name__)


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (InvalidArgument("no"), logging.DEBUG),
        (VersionConflict("no"), logging.DEBUG),
        (NotServing("draining"), logging.DEBUG),
        (BackendUnavailable("gone"), logging.WARNING),
        (BackendTimeout("late"), logging.WARNING),
        (Exhausted("full"), logging.WARNING),
        (Unauthenticated("who are you"), logging.WARNING),
        (Internal("a defect over there"), logging.ERROR),
        (RuntimeError("a defect"), logging.ERROR),
    ],
)
async def test_the_level_depends_on_who_caused_the_failure(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    fail(RequestLog(), error)
    (record,) = caplog.records
    assert record.levelno == level
    assert vars(record)["method"] == PATH
    assert vars(record)["code"]
    assert vars(record)["duration_ms"] >= 0


async def test_what_a_caller_sent_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    fail(RequestLog(), InvalidArgument("'my-private-key' is no key"))
    (record,) = caplog.records
    assert vars(record)["reason"] == "INVALID_ARGUMENT"
    assert "my-private-key" not in str(vars(record))


async def test_a_defect_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    fail(RequestLog(), RuntimeError("a defect"))
    assert caplog.records[0].exc_info is not None


async def test_repeated_failures_are_suppressed_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "WINDOW_S", 0.01)
    log = RequestLog()
    for _ in range(LINES + 500):
        fail(log, BackendUnavailable("gone"))
    fail(log, BackendUnavailable("gone"), "/prism.v1.KeyValueService/Set")
    assert len(caplog.records) == LINES + 1
    async with asyncio.timeout(30):
        while len(caplog.records) == LINES + 1:
            await asyncio.sleep(0.001)
    assert vars(caplog.records[-1])["suppressed"] == 500
    fail(log, BackendUnavailable("gone again"))
    assert "gone again" in caplog.text


async def test_closing_the_log_reports_suppressed_failures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RequestLog()
    for _ in range(LINES + 7):
        fail(log, BackendUnavailable("gone"))
    fail(log, BackendUnavailable("gone"), "/prism.v1.KeyValueService/Set")
    log.close()
    assert [vars(r)["suppressed"] for r in caplog.records if "suppressed" in vars(r)] == [7]
    log.close()
    assert len(caplog.records) == LINES + 2
    fail(log, BackendUnavailable("still gone"))
    assert "still gone" in caplog.text


async def test_a_request_slower_than_the_threshold_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RequestLog(slow=timedelta(seconds=1))
    log.succeeded(PATH, perf_counter_ns() - 900_000_000)
    assert not caplog.records
    log.succeeded(PATH, perf_counter_ns() - 1_100_000_000)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["duration_ms"] >= 1100


async def test_a_threshold_of_zero_logs_no_slow_request(caplog: pytest.LogCaptureFixture) -> None:
    RequestLog().succeeded(PATH, perf_counter_ns() - 10**12)
    assert not caplog.records
