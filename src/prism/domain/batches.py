"""Rules of a batch: limits on the whole request, and items that fail alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from prism.domain.validation import check_key, check_ttl, check_value
from prism.kit import ReplyBudget
from prism.ports import (
    Capability,
    Entry,
    InvalidArgument,
    Limits,
    PrismError,
    Profile,
    Put,
    Unsupported,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

Errors = dict[int, PrismError]
"""Errors of invalid items, by position in the request."""

ENTRY_OVERHEAD_BYTES = 32
"""Bytes that an entry takes in a reply beside its value: version, expiry, framing."""


def check_keys(keys: Sequence[str], limits: Limits) -> Errors:
    """Return the errors of invalid keys.

    Raises:
        InvalidArgument: the batch as a whole exceeds a limit.
    """
    _check_count(len(keys), limits)
    errors: Errors = {}
    size = 0
    for index, key in enumerate(keys):
        try:
            size += check_key(key)
        except InvalidArgument as error:
            errors[index] = error
    _check_bytes(size, limits)
    return errors


def check_puts(puts: Sequence[Put], profile: Profile) -> Errors:
    """Return the errors of invalid items.

    Raises:
        InvalidArgument: the batch as a whole exceeds a limit.
    """
    limits = profile.limits
    _check_count(len(puts), limits)
    errors: Errors = {}
    size = 0
    for index, put in enumerate(puts):
        size += len(put.value)
        try:
            size += check_key(put.key)
            check_value(put.value, limits.max_value_bytes)
            if put.ttl is not None:
                check_ttl(put.ttl)
                if Capability.TTL not in profile.capabilities:
                    raise Unsupported(f"the driver {profile.driver!r} does not offer ttl")
        except PrismError as error:
            errors[index] = error
    _check_bytes(size, limits)
    return errors


async def call_with_valid(
    call: Callable[[Sequence[Item]], Awaitable[list[Result | PrismError]]],
    items: Sequence[Item],
    errors: Errors,
) -> list[Result | PrismError]:
    """Call with the items that have no error; return all outcomes in the order of the request."""
    if not items:
        return []
    if not errors:
        return await call(items)
    valid = [item for index, item in enumerate(items) if index not in errors]
    outcomes = iter(await call(valid) if valid else [])
    return [errors[index] if index in errors else next(outcomes) for index in range(len(items))]


def within_reply(
    outcomes: list[Entry | PrismError | None], max_bytes: int
) -> list[Entry | PrismError | None]:
    """Return the outcomes, with each entry that does not fit the reply replaced by an error."""
    return ReplyBudget(max_bytes, entry_overhead=ENTRY_OVERHEAD_BYTES).limit(outcomes)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.max_batch_items:
        raise InvalidArgument(
            f"the batch has {count:,} items; the limit is {limits.max_batch_items:,}"
        )


def _check_bytes(size: int, limits: Limits) -> None:
    if size > limits.max_batch_bytes:
        raise InvalidArgument(
            f"the batch has {size:,} bytes of keys and values; "
            f"the limit is {limits.max_batch_bytes:,}"
        )
