"""Rules of a transaction: what is checked before a driver is called."""

from __future__ import annotations

from collections.abc import Sequence

from prism.domain.validation import check_key, check_ttl, check_value
from prism.ports import (
    Capability,
    Condition,
    Delete,
    InvalidArgument,
    PrismError,
    Profile,
    Unsupported,
    Write,
)


def check_transaction(
    conditions: Sequence[Condition], writes: Sequence[Write], profile: Profile
) -> None:
    """Check every condition and every write.

    Raises:
        PrismError: the first item that is not valid, or the limit that the whole exceeds; a
            transaction is refused as a whole.
    """
    limits = profile.limits
    count = len(conditions) + len(writes)
    if count > limits.max_batch_items:
        raise InvalidArgument(
            f"the transaction has {count:,} conditions and writes; "
            f"the limit is {limits.max_batch_items:,}"
        )
    size = sum(
        _checked(f"condition {number} of {len(conditions)}", condition, profile)
        for number, condition in enumerate(conditions, 1)
    )
    size += sum(
        _checked(f"write {number} of {len(writes)}", write, profile)
        for number, write in enumerate(writes, 1)
    )
    if size > limits.max_batch_bytes:
        raise InvalidArgument(
            f"the transaction has {size:,} bytes of keys and values; "
            f"the limit is {limits.max_batch_bytes:,}"
        )
    _check_distinct("condition", conditions)
    _check_distinct("write", writes)


def _checked(name: str, item: Condition | Write, profile: Profile) -> int:
    """Return the size of an item in bytes; raise the error that names the item."""
    try:
        size = check_key(item.key)
        if isinstance(item, Condition | Delete):
            return size
        size += check_value(item.value, profile.limits.max_value_bytes)
        if item.ttl is not None:
            check_ttl(item.ttl)
            if Capability.TTL not in profile.capabilities:
                raise Unsupported(f"the driver {profile.driver!r} does not offer ttl")
    except PrismError as error:
        raise type(error)(f"{name}: {error.message}", reason=error.reason) from None
    return size


def _check_distinct(what: str, items: Sequence[Condition | Write]) -> None:
    first: dict[str, int] = {}
    for number, item in enumerate(items, 1):
        if (earlier := first.setdefault(item.key, number)) != number:
            raise InvalidArgument(
                f"{what} {earlier} and {what} {number} name the same key: "
                f"a transaction may have one {what} for a key"
            )
