"""Helpers for driver authors: rules that most drivers have in common.

A driver may use these or its own code; the acceptance suite tests the behaviour, not the
means. This package imports `prism.ports` and the standard library alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Never

from prism.kit.tls import (
    ClientTls,
    FileStamp,
    client_tls_context,
    file_stamp,
    load_authorities,
    load_certificate,
    plain_private_key,
    tls_problem,
)
from prism.kit.watchers import Watchers
from prism.ports import (
    INT64_MAX,
    INT64_MIN,
    Condition,
    ConditionFailed,
    Entry,
    Exhausted,
    InvalidArgument,
    Limits,
    NotServing,
    PreconditionFailed,
    Presence,
    PrismError,
    Version,
    VersionConflict,
)

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "ClientTls",
    "Closed",
    "FileStamp",
    "ReplyBudget",
    "Watchers",
    "add_to_counter",
    "check_conditions",
    "clamp_page_size",
    "client_tls_context",
    "closed",
    "condition_failed",
    "does_not_fit",
    "file_stamp",
    "is_host",
    "load_authorities",
    "load_certificate",
    "plain_private_key",
    "setting_not_allowed",
    "tls_problem",
    "version_conflict",
]

DEFAULT_PAGE_SIZE = 100
"""Keys in a page of a scan when the caller leaves the size to the backend."""

_NOT_IN_HOSTS = frozenset(" /:,@[]?#\\")

_CANONICAL_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class Closed:
    """Placeholder for a resource that is not open: every use of it raises `NotServing`.

    See `closed`.
    """

    __slots__ = ("_closed_what",)

    def __init__(self, what: str) -> None:
        self._closed_what = what

    def __getattr__(self, name: str) -> Never:
        raise NotServing(
            f"{self._closed_what} is not open: it is not initialized yet, or was stopped"
        )


def closed(what: str) -> Any:
    """Return a placeholder for a resource that is not open.

    A driver assigns it where its connection will be. Its operations then need no check of
    their own: before `initialize` and after `stop`, any attribute or method of the
    placeholder raises `NotServing`.

        _CLOSED = closed("the file")

        class Driver:
            def __init__(self) -> None:
                self._file: File = _CLOSED

            async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
                file, self._file = self._file, _CLOSED
                if file is not _CLOSED:
                    await file.close()

    Args:
        what: subject of the error message, such as "the file".

    Returns:
        A `Closed`, typed so that it can stand for a resource of any type.
    """
    return Closed(what)


def add_to_counter(stored: bytes | None, delta: int) -> int:
    """Return the number after an increment, by the rules of `Counter.increment`.

    Store the result as `b"%d" % number`: that is the canonical decimal text.

    Args:
        stored: value of the key; None when the key is absent, which counts as 0.
        delta: signed 64-bit integer to add.

    Raises:
        PreconditionFailed: `NOT_AN_INTEGER` when the stored value is not a signed 64-bit
            integer in canonical decimal text; `OVERFLOW` when the sum is not one.
    """
    if stored is None:
        return delta
    number = int(stored) if _CANONICAL_INTEGER.fullmatch(stored) else None
    if number is None or not INT64_MIN <= number <= INT64_MAX:
        raise PreconditionFailed(
            "the value is not a 64-bit integer in canonical decimal text", reason="NOT_AN_INTEGER"
        )
    total = number + delta
    if not INT64_MIN <= total <= INT64_MAX:
        raise PreconditionFailed(
            f"{number} plus {delta} does not fit a signed 64-bit integer", reason="OVERFLOW"
        )
    return total


def version_conflict(expected: Version | None) -> VersionConflict:
    """Return the error of a compare-and-set whose key is not as expected.

    Args:
        expected: version that the key should have; None: it should be absent.
    """
    if expected is None:
        return VersionConflict("the key exists, and the write requires it to be absent")
    return VersionConflict("the key is absent, or has another version than the one expected")


def check_conditions(
    conditions: Sequence[Condition], version_of: Callable[[str], Version | None]
) -> None:
    """Raise `ConditionFailed` for the first condition that does not hold.

    Args:
        version_of: returns the version of a key; None: it is absent.
    """
    for index, condition in enumerate(conditions):
        current = version_of(condition.key)
        if not condition.is_met_by(current):
            raise condition_failed(conditions, index, current)


def condition_failed(
    conditions: Sequence[Condition], index: int, current: Version | None
) -> ConditionFailed:
    """Return the error of a transaction.

    Args:
        index: position of the first condition that does not hold.
        current: version that its key has; None: it is absent.
    """
    expected = conditions[index].expected
    if expected is Presence.ABSENT:
        problem = "the key exists, and the condition requires it to be absent"
    elif expected is Presence.PRESENT:
        problem = "the key is absent, and the condition requires it to exist"
    else:
        problem = "the key is absent, or has another version than the one expected"
    return ConditionFailed(
        f"condition {index + 1} of {len(conditions)} does not hold: {problem}",
        index=index,
        current=current,
    )


class ReplyBudget:
    """Number of bytes that the values of one `get_many` reply may still take.

    A value that does not fit fails its own item with `Exhausted`; a later, smaller value
    may still fit.

    Args:
        max_bytes: size of the budget; for a driver its `Limits.max_batch_bytes`.
        entry_overhead: bytes that each entry takes beside its value.
    """

    def __init__(self, max_bytes: int, *, entry_overhead: int = 0) -> None:
        self._left = max_bytes
        self._entry_overhead = entry_overhead

    def take(self, value_bytes: int) -> bool:
        """Take the bytes of one value; False, and nothing taken, when it does not fit.

        For backends that tell the size of a value before it is fetched.
        """
        size = value_bytes + self._entry_overhead
        if size > self._left:
            return False
        self._left -= size
        return True

    def limit(
        self, outcomes: Iterable[Entry | PrismError | None]
    ) -> list[Entry | PrismError | None]:
        """Return the outcomes, with each entry that does not fit replaced by `Exhausted`.

        The iterable is read one outcome at a time, so a generator that fetches them never
        has two values in memory that do not fit.
        """
        left, overhead = self._left, self._entry_overhead
        limited: list[Entry | PrismError | None] = []
        for outcome in outcomes:
            if isinstance(outcome, Entry):
                size = len(outcome.value) + overhead
                if size > left:
                    limited.append(does_not_fit())
                    continue
                left -= size
            limited.append(outcome)
        self._left = left
        return limited


def does_not_fit() -> Exhausted:
    """Return the error of an item whose value does not fit the reply of its batch."""
    return Exhausted("the value does not fit this reply: get fewer keys at once")


def clamp_page_size(page_size: int, limits: Limits) -> int:
    """Return the number of keys that a page of `Scan.scan` may have.

    Args:
        page_size: number that the caller asks for; 0 leaves it to the backend.
        limits: limits of the backend; more than `max_page_size` is clamped to that.
    """
    return min(page_size or DEFAULT_PAGE_SIZE, limits.max_page_size)


def is_host(text: str) -> bool:
    """Return whether a text is the name or address of a host, without scheme, port or blanks.

    An IPv6 address may be in brackets.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return bool(text) and text.isprintable() and not _NOT_IN_HOSTS & set(text)
    return True


def setting_not_allowed(driver: str, name: str, value: object, allowed: str) -> InvalidArgument:
    """Return the error for a setting whose value cannot work.

    Args:
        allowed: values that can, such as `1 or more`.
    """
    return InvalidArgument(f"{driver} setting {name}: {value} is not allowed, use {allowed}")
