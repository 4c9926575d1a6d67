"""What redis-py and the server say when something fails, as the ports' errors."""

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

_Make: TypeAlias = Callable[[str], PrismError]
"""From what to call the backend."""


class NotSent(Exception):
    """Nothing of the commands has left this process; the cause says why."""

    @classmethod
    def because(cls, cause: Exception) -> NotSent:
        failure = cls()
        failure.__cause__ = cause
        return failure


_ANSWERS = (redis.BusyLoadingError, redis.AuthenticationError, AuthorizationError)


def is_answer(failure: Exception) -> bool:
    """Whether the server said so of one command, and redis-py then hung up on it."""
    return isinstance(failure, _ANSWERS)


def is_lost(failure: object) -> bool:
    """Whether the connection broke, so that a read may be repeated on another."""
    if isinstance(failure, NotSent):
        failure = failure.__cause__
    return isinstance(failure, redis.ConnectionError) and not isinstance(failure, _ANSWERS)


def translate(failure: Exception, backend: str) -> PrismError:
    """The error of the ports, with what became of a write.

    Args:
        backend: what to call it, without credentials.
    """
    if isinstance(failure, NotSent):
        cause = failure.__cause__
        error = translate(cause if isinstance(cause, Exception) else OSError(), backend)
        error.outcome = Outcome.NOT_APPLIED
        return error
    for kinds, make in _BY_CLASS:
        if isinstance(failure, kinds):
            return make(backend)
    if isinstance(failure, redis.ResponseError):
        return _of_reply(str(failure), backend)
    if isinstance(failure, RedisClusterException) and failure.__cause__ is not None:
        return _of_discovery(failure.__cause__, backend)
    if isinstance(failure, (redis.ConnectionError, RedisClusterException, OSError)):
        return BackendUnavailable(f"Redis at {backend} {_how_lost(failure)}")
    _log.error("unexpected failure of the Redis client", exc_info=failure)
    return Internal("the Redis client failed")


def _of_reply(text: str, backend: str) -> PrismError:
    """The server refused, and so did nothing."""
    code = text.partition(" ")[0]
    if code in _BY_CODE:
        return _BY_CODE[code](backend)
    # What follows may quote the arguments, and so keys and values.
    _log.error("Redis refused a command: %s", text.partition(", with args")[0][:200])
    return Internal(f"Redis at {backend} refused a command", outcome=Outcome.NOT_APPLIED)


def _of_discovery(cause: BaseException, backend: str) -> PrismError:
    """Why no node said what the cluster is made of."""
    if isinstance(cause, RedisClusterException):
        return InvalidArgument(f"Redis at {backend} is no cluster: leave +cluster out of the URL")
    return translate(cause if isinstance(cause, Exception) else OSError(), backend)


def _how_lost(failure: Exception) -> str:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "refuses connections: is it running?"
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot be reached: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return "cannot be reached, or the connection to it broke"


def _refused(how: str) -> _Make:
    """The server answered that it cannot serve now."""
    return lambda backend: BackendUnavailable(
        f"Redis at {backend} {how}", outcome=Outcome.NOT_APPLIED
    )


def _exhausted(how: str) -> _Make:
    return lambda backend: Exhausted(f"Redis at {backend} {how}")


def _denied(backend: str) -> PrismError:
    return AccessDenied(
        f"the user of Redis at {backend} may not do this: ACL GETUSER shows what it may"
    )


def _precondition(message: str, reason: str) -> _Make:
    return lambda _: PreconditionFailed(message, reason=reason)


_BY_CLASS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], _Make]] = (
    (redis.BusyLoadingError, _refused("is still loading its data: try again in a moment")),
    (
        redis.AuthenticationError,
        lambda backend: Unauthenticated(
            f"Redis at {backend} wants other credentials: check the username and the password"
        ),
    ),
    ((AuthorizationError, NoPermissionError), _denied),
    (OutOfMemoryError, _exhausted("is out of memory: delete keys, or raise its maxmemory")),
    (redis.ReadOnlyError, _refused("is a replica, or read-only: a failover may be going on")),
    (NoScriptError, _refused("forgot a script just now: try again")),
    ((AskError, TryAgainError), _refused("is moving the keys: try again in a moment")),
    (MasterNotFoundError, _refused("is not to be found: no sentinel that answers knows it")),
    ((ClusterDownError, ClusterError), _refused("is a cluster that is not whole")),
    (
        (redis.TimeoutError, TimeoutError),
        lambda backend: BackendTimeout(f"no answer from Redis at {backend} in time"),
    ),
    (
        redis.InvalidResponse,
        lambda backend: BackendUnavailable(
            f"what answers at {backend} does not speak as Redis does: check the address"
        ),
    ),
)

_BY_CODE: Mapping[str, _Make] = {
    "WRONGTYPE": _precondition(
        "the key holds something of another client of Redis that is no string", "WRONG_TYPE"
    ),
    # "ACL failure in script", where the same outside of one is NOPERM.
    "ACL": _denied,
    "NOT_AN_INTEGER": _precondition(
        "the value is not a 64-bit integer in canonical decimal text", "NOT_AN_INTEGER"
    ),
    "OVERFLOW": _precondition("the sum does not fit a signed 64-bit integer", "OVERFLOW"),
    "MISCONF": _exhausted("cannot write to its disk and refuses writes: see its log"),
    "NOREPLICAS": _refused("has too few replicas and refuses writes"),
    "BUSY": _refused("is held up by a script that does not end"),
}
