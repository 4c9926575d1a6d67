"""Errors for failures that real servers seldom give."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import ClusterDownError, MovedError, NoScriptError

from prism.adapters.redis.errors import NotSentError, translate
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    Internal,
    Outcome,
    PrismError,
    Unauthenticated,
)


@pytest.mark.parametrize(
    ("failure", "kind", "outcome"),
    [
        (redis.ConnectionError("gone"), BackendUnavailable, Outcome.UNKNOWN),
        (redis.TimeoutError("slow"), BackendTimeout, Outcome.UNKNOWN),
        (TimeoutError(), BackendTimeout, Outcome.UNKNOWN),
        (NotSentError(redis.ConnectionError()), BackendUnavailable, Outcome.NOT_APPLIED),
        (NotSentError(TimeoutError()), BackendTimeout, Outcome.NOT_APPLIED),
        (redis.BusyLoadingError("dataset"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ReadOnlyError("replica"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.AuthenticationError("password"), Unauthenticated, Outcome.NOT_APPLIED),
        (ClusterDownError("down"), BackendUnavailable, Outcome.NOT_APPLIED),
        (MovedError("1 one:7000"), BackendUnavailable, Outcome.NOT_APPLIED),
        (NoScriptError("none"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ResponseError("MISCONF no disk"), Exhausted, Outcome.NOT_APPLIED),
        (redis.ResponseError("NOREPLICAS"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ResponseError("ERR unknown command"), Internal, Outcome.NOT_APPLIED),
        (ZeroDivisionError(), Internal, Outcome.UNKNOWN),
    ],
)
def test_error_has_the_outcome_of_the_write(
    failure: Exception, kind: type[PrismError], outcome: Outcome
) -> None:
    error = translate(failure, "here")
    assert (type(error), error.outcome) == (kind, outcome)


def test_error_and_log_do_not_quote_arguments(caplog: pytest.LogCaptureFixture) -> None:
    refusal = "ERR unknown command 'EVALSHA', with args beginning with: 'prism:key' 'hunter2'"
    assert "hunter2" not in translate(redis.ResponseError(refusal), "here").message
    assert "hunter2" not in caplog.text
