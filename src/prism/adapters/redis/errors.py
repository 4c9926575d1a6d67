"""Translation of redis-py's exceptions and Redis's error replies to the errors of the ports."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Sequence
from typing import TypeAlias

import redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisClusterException,
    TryAgainError,
)

from prism.adapters.redis.operations import COMMAND_NAMES, command_in_script
from prism.kit import tls_problem
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

_ErrorFactory: TypeAlias = Callable[[str, str], PrismError]
"""Makes an error from the name of the backend and the text of the failure."""


class NotSentError(Exception):
    """No part of the commands was written to a connection, for the reason in `__cause__`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.__cause__ = cause


class UnexpectedReplyError(redis.ConnectionError):
    """Error reply that no command of Prism causes; the text quotes no argument.

    A byte may have changed on the way, so that the replies do not belong to the commands: the
    connection must be closed, and the outcome of every unanswered command is unknown.
    """

    def __init__(self, reply: str) -> None:
        super().__init__(_without_arguments(reply))


class NoDatabaseError(redis.ResponseError):
    """The server has no database with this number."""

    def __init__(self, db: int) -> None:
        super().__init__(f"DB index is out of range: {db}")


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


def is_expected(error: Exception) -> bool:
    """Return whether an error reply is one that Prism's commands or the server's state cause."""
    return isinstance(error, _EXPECTED_CLASSES) or _factory_by_text(str(error)) is not None


def is_denied(reply: Exception) -> bool:
    """Return whether an error reply says that the user may not run a command."""
    return isinstance(reply, NoPermissionError) or bool(_SCRIPT_DENIAL.match(str(reply)))


def is_about_one_key(reply: object) -> bool:
    """Return whether an error reply concerns the key of the command and not the server.

    The key is on another server of the Cluster, the user may not use it, or it has another type.
    """
    if isinstance(reply, NoPermissionError):
        return denied_object(str(reply)) == _DENIED_KEY
    is_elsewhere = isinstance(reply, (AskError, TryAgainError))
    return is_elsewhere or (isinstance(reply, redis.ResponseError) and "WRONGTYPE" in str(reply))


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
    text = str(failure)
    if isinstance(failure, UnexpectedReplyError):
        return _unexpected(text, backend)
    for kinds, make_error in _BY_CLASS:
        if isinstance(failure, kinds):
            return make_error(backend, text)
    if isinstance(failure, redis.RedisError) and (factory := _factory_by_text(text)):
        return factory(backend, text)
    if isinstance(failure, redis.ResponseError):
        return _unexpected(_without_arguments(text), backend)
    if isinstance(failure, RedisClusterException) and failure.__cause__ is not None:
        return _translate_discovery(failure.__cause__, backend)
    if isinstance(failure, (redis.ConnectionError, RedisClusterException, OSError)):
        return BackendUnavailable(f"Redis at {backend} {_connection_problem(failure)}")
    _log.error("unexpected exception from the Redis client", exc_info=failure)
    return Internal("the Redis client failed unexpectedly; the log has the exception")


def _factory_by_text(text: str) -> _ErrorFactory | None:
    for pattern, make_error in _BY_TEXT:
        if pattern.match(text):
            return make_error
    return None


def _unexpected(text: str, backend: str) -> PrismError:
    return BackendUnavailable(
        f"Redis at {backend} sent an error that no command of Prism causes: {text}",
        outcome=Outcome.UNKNOWN,
    )


def _without_arguments(text: str) -> str:
    """Return an error reply without what it quotes: that may be part of a key or a value."""

    def replace(quoted: re.Match[str]) -> str:
        return quoted[0] if quoted[1].upper() in COMMAND_NAMES else "'…'"

    return re.sub(r"['`]([^'`]*)['`]", replace, text.partition(", with args")[0])[:_MAX_TEXT]


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
        if isinstance(cause, ssl.SSLError):
            return f"cannot be reached: {tls_problem(cause)}"
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot be reached: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return "cannot be reached, or the connection to it broke"


def _unavailable(problem: str) -> _ErrorFactory:
    """For a reply that the server cannot serve now; it applied nothing."""
    return lambda backend, _: BackendUnavailable(
        f"Redis at {backend} {problem}", outcome=Outcome.NOT_APPLIED
    )


def _exhausted(problem: str) -> _ErrorFactory:
    return lambda backend, _: Exhausted(f"Redis at {backend} {problem}")


def _denied(backend: str, text: str) -> PrismError:
    return AccessDenied(
        f"Redis at {backend} denies the user {denied_object(text)}: "
        "ACL GETUSER shows its permissions"
    )


def denied_object(text: str) -> str:
    """Return what an error reply says that the user is denied: a command, or a key."""
    if named := _DENIED_COMMAND.search(text):
        return f"the command {named[1].upper()}"
    if "key" in text:
        return _DENIED_KEY
    if "channel" in text:
        return "the channel of the notifications"
    # Redis 7.0 names the line of the script only, and neither for the one protected call.
    where = _SCRIPT_LINE.search(text)
    command = command_in_script(where[1], int(where[2])) if where else "INCRBY"
    return f"the command {command}" if command else "this command"


def _cluster_down(backend: str, text: str) -> PrismError:
    return BackendUnavailable(
        f"Redis at {backend} is a cluster that is down: {text or 'it has no reachable nodes'}; "
        "see CLUSTER INFO",
        outcome=Outcome.NOT_APPLIED,
    )


def _no_database(backend: str, text: str) -> PrismError:
    number = text.rpartition(" ")[2]
    return InvalidArgument(
        f"Redis at {backend} has no database {number}: name a lower one in the URL, "
        "or raise its setting databases"
    )


def _precondition(message: str, reason: str) -> _ErrorFactory:
    return lambda _, __: PreconditionFailed(message, reason=reason)


_BY_CLASS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], _ErrorFactory]] = (
    (redis.BusyLoadingError, _unavailable("is still loading its data: try again in a moment")),
    (
        redis.AuthenticationError,
        lambda backend, _: Unauthenticated(
            f"Redis at {backend} rejected the credentials: check the username and the password"
        ),
    ),
    ((AuthorizationError, NoPermissionError), _denied),
    (OutOfMemoryError, _exhausted("is out of memory: delete keys, or raise its maxmemory")),
    (redis.ReadOnlyError, _unavailable("is a read-only replica: a failover may be in progress")),
    (NoScriptError, _unavailable("lost its scripts: try again")),
    ((AskError, TryAgainError), _unavailable("is moving the key: try again in a moment")),
    (MasterNotFoundError, _unavailable("has no known master: no reachable sentinel names one")),
    (
        MasterDownError,
        _unavailable(
            "is a replica that has lost its master and refuses stale reads: "
            "restore the replication (INFO replication shows it), or set "
            "replica-serve-stale-data to yes"
        ),
    ),
    ((ClusterDownError, ClusterError), _cluster_down),
    (
        (redis.TimeoutError, TimeoutError),
        lambda backend, _: BackendTimeout(f"Redis at {backend} did not answer in time"),
    ),
    (
        redis.InvalidResponse,
        lambda backend, _: BackendUnavailable(
            f"the server at {backend} does not speak the Redis protocol: check the address"
        ),
    ),
)

_EXPECTED_CLASSES = (
    redis.BusyLoadingError,
    redis.AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    redis.ReadOnlyError,
    NoScriptError,
    AskError,
    TryAgainError,
    ClusterDownError,
)
"""Classes of error replies that are no sign of a broken connection."""

_DENIED_COMMAND = re.compile(r"to run the '([\w|-]+)'")
_SCRIPT_LINE = re.compile(r"script: ([0-9a-f]{40}), on @user_script:(\d+)")
_SCRIPT_DENIAL = re.compile("ACL failure|The user executing the script can't")
_DENIED_KEY = "this key"
_MAX_TEXT = 200

_BY_TEXT: Sequence[tuple[re.Pattern[str], _ErrorFactory]] = tuple(
    (re.compile(start), make_error)
    for start, make_error in {
        "WRONGTYPE": _precondition(
            "the key holds a Redis type other than string, which another client wrote",
            "WRONG_TYPE",
        ),
        # Denials inside a script; outside of one the code is NOPERM.
        _SCRIPT_DENIAL.pattern: _denied,
        "NOT_AN_INTEGER": _precondition(
            "the value is not a 64-bit integer in canonical decimal text", "NOT_AN_INTEGER"
        ),
        "OVERFLOW": _precondition("the sum does not fit a signed 64-bit integer", "OVERFLOW"),
        "MISCONF": _exhausted("cannot write to its disk and refuses writes: see its log"),
        "NOREPLICAS": _unavailable("has too few replicas and refuses writes"),
        "BUSY": _unavailable("is blocked by a script that does not end"),
        "max number of clients": _unavailable(
            "has reached its maximum number of clients: close some, or raise its maxclients"
        ),
        "DENIED": lambda backend, _: AccessDenied(
            f"Redis at {backend} runs in protected mode and refuses clients of other machines: "
            "set a password in its configuration (requirepass) and in the settings of Prism, "
            "or set protected-mode to no"
        ),
        "DB index is out of range": _no_database,
        "unknown command .SENTINEL": lambda backend, _: InvalidArgument(
            f"Redis at {backend}: a server there is no sentinel; give the port of the sentinels, "
            "by default 26379, or use a URL without +sentinel"
        ),
    }.items()
)
