"""Errors for failures that real servers seldom give."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import ClusterDownError, MasterDownError, MovedError, NoScriptError

from prism.adapters.redis.connection import parse_error
from prism.adapters.redis.errors import NotSentError, UnexpectedReplyError, is_expected, translate
from prism.adapters.redis.operations import SET_SCRIPT
from prism.ports import (
    AccessDenied,
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
        (redis.ResponseError("unknown command"), BackendUnavailable, Outcome.UNKNOWN),
        (UnexpectedReplyError("unknown command"), BackendUnavailable, Outcome.UNKNOWN),
        (MasterDownError("Link down"), BackendUnavailable, Outcome.NOT_APPLIED),
        (
            redis.ConnectionError("max number of clients reached"),
            BackendUnavailable,
            Outcome.NOT_APPLIED,
        ),
        (ZeroDivisionError(), Internal, Outcome.UNKNOWN),
    ],
)
def test_error_has_the_outcome_of_the_write(
    failure: Exception, kind: type[PrismError], outcome: Outcome
) -> None:
    error = translate(failure, "here")
    assert (type(error), error.outcome) == (kind, outcome)


@pytest.mark.parametrize(
    "reply",
    [
        "ERR unknown command 'NX', with args beginning with: ",
        "ERR Protocol error: invalid multibulk length",
        "ERR wrong number of arguments for 'set' command",
        "ERR syntax error",
        "OK",
    ],
)
def test_error_that_prism_cannot_have_caused_is_not_expected(reply: str) -> None:
    assert not is_expected(parse_error(reply))


SET_IN_SCRIPT = SET_SCRIPT.digest


@pytest.mark.parametrize(
    ("reply", "denied"),
    [
        ("NOPERM User u has no permissions to run the 'get' command", "the command GET"),
        ("NOPERM this user has no permissions to run the 'config|get' command", "CONFIG|GET"),
        (
            "ERR ACL failure in script: User u has no permissions to run the 'set' command "
            "script: on @user_script:2.",
            "the command SET",
        ),
        (
            "ERR The user executing the script can't run this command or subcommand script: "
            f"{SET_IN_SCRIPT}, on @user_script:2.",
            "the command SET",
        ),
        (
            "ERR The user executing the script can't run this command or subcommand",
            "the command INCRBY",
        ),
        ("NOPERM No permissions to access a key", "this key"),
        (
            "ERR The user executing the script can't access at least one of the keys mentioned in "
            f"the command arguments script: {SET_IN_SCRIPT}, on @user_script:2.",
            "this key",
        ),
    ],
)
def test_denial_names_what_is_denied(reply: str, denied: str) -> None:
    failure = parse_error(reply)
    error = translate(failure, "here")
    assert isinstance(error, AccessDenied)
    assert denied in error.message
    assert is_expected(failure)


def test_error_does_not_quote_arguments() -> None:
    for refusal in (
        "ERR unknown command 'EVALSHA', with args beginning with: 'prism:key' 'hunter2'",
        "ERR unknown command 'hunter2', with args beginning with: ",
    ):
        failure = parse_error(refusal)
        assert "hunter2" not in translate(failure, "here").message
        assert "hunter2" not in str(UnexpectedReplyError(str(failure)))


def test_error_names_why_the_server_cannot_be_reached() -> None:
    failure = redis.ConnectionError("Error 113 connecting")
    failure.__cause__ = OSError(113, "No route to host")
    assert "cannot be reached: No route to host" in translate(failure, "here").message
