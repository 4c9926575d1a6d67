"""Translation of redis-py's exceptions and Redis's error replies to the errors of the ports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisClusterException,
    TryAgainError,
)

from prism.ports import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    Internal,
    InvalidArgument,
    Outcome,
    PreconditionFailed,
    PrismError,
    Unauthenticated,
)

_log = logging.getLogger(__name__)

_ErrorFactory: TypeAlias = Callable[[str], PrismError]
"""Makes an error from the name of the backend."""


class NotSentError(Exception):
    """No part of the commands was written to a connection, for the reason in `__cause__`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.__cause__ = cause


_ERROR_REPLIES = (redis.BusyLoadingError, redis.AuthenticationError, AuthorizationError)
"""Subclasses of `redis.ConnectionError` that stand for a reply of the server."""


def is_error_reply(error: Exception) -> bool:
    """Return whether a connection error is a reply to one command.

    redis-py closes the connection after such a reply.
    """
    return isinstance(error, _ERROR_REPLIES)


def is_connection_lost(reply: object) -> bool:
    """Return whether a reply is a broken connection, so that a read may be retried."""
    if isinstance(reply, NotSentError):
        reply = reply.__cause__
    return isinstance(reply, redis.ConnectionError) and not isinstance(reply, _ERROR_REPLIES)


def translate(failure: Exception, backend: str) -> PrismError:
    """Return the error of the ports, with the outcome of a write.

    Args:
        failure: exception of redis-py, an error reply, or `NotSentError`.
        backend: name of the backend without credentials.
    """
    if isinstance(failure, NotSentError):
        cause = failure.__cause__
        error = translate(cause if isinstance(cause, Exception) else OSError(), backend)
        error.outcome = Outcome.NOT_APPLIED
        return error
    for kinds, make_error in _BY_CLASS:
        if isinstance(failure, kinds):
            return make_error(backend)
    if isinstance(failure, redis.ResponseError):
        return _translate_reply(str(failure), backend)
    if isinstance(failure, RedisClusterException) and failure.__cause__ is not None:
        return _translate_discovery(failure.__cause__, backend)
    if isinstance(failure, (redis.ConnectionError, RedisClusterException, OSError)):
        return BackendUnavailable(f"Redis at {backend} {_connection_problem(failure)}")
    _log.error("unexpected exception from the Redis client", exc_info=failure)
    return Internal("the Redis client failed unexpectedly; the log has the exception")


def _translate_reply(text: str, backend: str) -> PrismError:
    """Translate an error reply without a class of its own; the server applied nothing."""
    code = text.partition(" ")[0]
    if code in _BY_CODE:
        return _BY_CODE[code](backend)
    # The rest of the text may quote the arguments, and so keys and values.
    _log.error("Redis refused a command: %s", text.partition(", with args")[0][:200])
    return Internal(
        f"Redis at {backend} refused a command; the log has the reason",
        outcome=Outcome.NOT_APPLIED,
    )


def _translate_discovery(cause: BaseException, backend: str) -> PrismError:
    """Translate the reason why no node described the cluster."""
    if isinstance(cause, RedisClusterException):
        return InvalidArgument(f"Redis at {backend} is not a cluster: remove +cluster from the URL")
    return translate(cause if isinstance(cause, Exception) else OSError(), backend)


def _connection_problem(failure: Exception) -> str:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "refuses connections: is it running?"
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot be reached: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return "cannot be reached, or the connection to it broke"


def _unavailable(problem: str) -> _ErrorFactory:
    """For a reply that the server cannot serve now; it applied nothing."""
    return lambda backend: BackendUnavailable(
        f"Redis at {backend} {problem}", outcome=Outcome.NOT_APPLIED
    )


def _exhausted(problem: str) -> _ErrorFactory:
    return lambda backend: Exhausted(f"Redis at {backend} {problem}")


def _denied(backend: str) -> PrismError:
    return AccessDenied(
        f"Redis at {backend} denies the user this command: ACL GETUSER shows its permissions"
    )


def _precondition(message: str, reason: str) -> _ErrorFactory:
    return lambda _: PreconditionFailed(message, reason=reason)


_BY_CLASS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], _ErrorFactory]] = (
    (redis.BusyLoadingError, _unavailable("is still loading its data: try again in a moment")),
    (
        redis.AuthenticationError,
        lambda backend: Unauthenticated(
            f"Redis at {backend} rejected the credentials: check the username and the password"
        ),
    ),
    ((AuthorizationError, NoPermissionError), _denied),
    (OutOfMemoryError, _exhausted("is out of memory: delete keys, or raise its maxmemory")),
    (redis.ReadOnlyError, _unavailable("is a read-only replica: a failover may be in progress")),
    (NoScriptError, _unavailable("lost its scripts: try again")),
    ((AskError, TryAgainError), _unavailable("is moving the key: try again in a moment")),
    (MasterNotFoundError, _unavailable("has no known master: no reachable sentinel names one")),
    ((ClusterDownError, ClusterError), _unavailable("is a cluster that is down: see CLUSTER INFO")),
    (
        (redis.TimeoutError, TimeoutError),
        lambda backend: BackendTimeout(f"Redis at {backend} did not answer in time"),
    ),
    (
        redis.InvalidResponse,
        lambda backend: BackendUnavailable(
            f"the server at {backend} does not speak the Redis protocol: check the address"
        ),
    ),
)

_BY_CODE: Mapping[str, _ErrorFactory] = {
    "WRONGTYPE": _precondition(
        "the key holds a Redis type other than string, which another client wrote", "WRONG_TYPE"
    ),
    # A denial inside a script; outside of one its code is NOPERM.
    "ACL": _denied,
    "NOT_AN_INTEGER": _precondition(
        "the value is not a 64-bit integer in canonical decimal text", "NOT_AN_INTEGER"
    ),
    "OVERFLOW": _precondition("the sum does not fit a signed 64-bit integer", "OVERFLOW"),
    "MISCONF": _exhausted("cannot write to its disk and refuses writes: see its log"),
    "NOREPLICAS": _unavailable("has too few replicas and refuses writes"),
    "BUSY": _unavailable("is blocked by a script that does not end"),
}
