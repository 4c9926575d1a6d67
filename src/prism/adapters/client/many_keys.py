"""Any number of keys, in as many batches as the limits of the server need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from prism.ports import Entry, Exhausted, Limits, Outcome, PrismError, Put

Item = TypeVar("Item")
Result = TypeVar("Result")


def size_of_key(key: str) -> int:
    """Return how much of a batch a key takes, in bytes."""
    return len(key.encode("utf-8", "surrogatepass"))


def size_of_put(put: Put) -> int:
    """Return how much of a batch a put takes, in bytes."""
    return size_of_key(put.key) + len(put.value)


async def in_batches(
    call: Callable[[Sequence[Item]], Awaitable[list[Result | PrismError]]],
    items: Sequence[Item],
    size_of: Callable[[Item], int],
    limits: Limits,
) -> list[Result | PrismError]:
    """Return the outcome of each item, from one batch after the other.

    Raises:
        PrismError: the first batch failed. The failure of a later one is the outcome of each of
            its items, and of those after it, which are not sent.
    """
    outcomes: list[Result | PrismError] = []
    for batch in _batches(items, size_of, limits):
        try:
            outcomes += await call(batch)
        except PrismError as error:
            if not outcomes:
                raise
            outcomes += [error] * len(batch)
            unsent = type(error)(error.message, reason=error.reason, outcome=Outcome.NOT_APPLIED)
            outcomes += [unsent] * (len(items) - len(outcomes))
            break
    return outcomes


async def entries_of(
    call: Callable[[Sequence[str]], Awaitable[list[Entry | PrismError | None]]],
    keys: Sequence[str],
) -> list[Entry | PrismError | None]:
    """Return the entries of one batch, asking again for those that did not fit in the reply."""
    outcomes = await call(keys)
    while True:
        left = [index for index, each in enumerate(outcomes) if isinstance(each, Exhausted)]
        if not left:
            return outcomes
        found = await call([keys[index] for index in left])
        for index, outcome in zip(left, found, strict=True):
            outcomes[index] = outcome
        if all(isinstance(each, Exhausted) for each in found):
            # Nothing has room for them.
            return outcomes


def _batches(
    items: Sequence[Item], size_of: Callable[[Item], int], limits: Limits
) -> Iterator[Sequence[Item]]:
    begin, size = 0, 0
    for index, item in enumerate(items):
        more = size_of(item)
        full = index - begin == limits.max_batch_items or size + more > limits.max_batch_bytes
        if full and index > begin:
            yield items[begin:index]
            begin, size = index, 0
        size += more
    yield items[begin:] if begin else items
