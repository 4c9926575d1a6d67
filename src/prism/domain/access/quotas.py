"""Quotas: how much each caller may do, and what it has used of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from prism.domain.token_bucket import TokenBucket
from prism.ports import Exhausted
from prism.ports.text import counted

_MAX_BUDGETS = 4096
"""Number of budgets above which the unused ones are forgotten."""

_PLURALS = {"watch": "watches", "connection": "connections"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much a caller may do. None: as much as it likes.

    Attributes:
        name: name for explanations.
        who: patterns of identities, in which `*` stands for any text.
        shared: whether all callers that it applies to have one budget together, and not each
            its own.
        operations_per_second: operations; each item of a batch or transaction is one.
        bytes_per_second: bytes of keys and values, in requests and replies.
        watches: open watches.
        connections: connections of Redis clients, and operation streams of gRPC.
    """

    name: str
    who: tuple[str, ...]
    shared: bool = False
    operations_per_second: int | None = None
    bytes_per_second: int | None = None
    watches: int | None = None
    connections: int | None = None

    def __str__(self) -> str:
        limits = [
            f"{value:,} {what}"
            for what, value in (
                ("operations a second", self.operations_per_second),
                ("bytes a second", self.bytes_per_second),
                ("watches", self.watches),
                ("connections", self.connections),
            )
            if value is not None
        ]
        return f"{self.name}: {', '.join(limits)}{', together' if self.shared else ''}"


class Budget:
    """What one caller, or those that share a quota, may still use of it.

    An operation begins while nothing is overdrawn. Its cost is subtracted at its beginning, and the
    cost of a reply when its size is known. So one large batch passes, and the operations after it
    are refused for longer.

    Args:
        on_refusal: called with what is used up, before a refusal is raised.

    Attributes:
        bytes_count: whether bytes are limited.
    """

    def __init__(self, quota: Quota, on_refusal: Callable[[str], None]) -> None:
        self._on_refusal = on_refusal
        self._held: Counter[str] = Counter()
        self.replace(quota)

    def replace(self, quota: Quota) -> None:
        """Apply another quota from now on; what is open stays open, and counts."""
        self._quota = quota
        self._operations = _bucket_of(quota.operations_per_second)
        self._bytes = _bucket_of(quota.bytes_per_second)
        self._most = {"watch": quota.watches, "connection": quota.connections}
        self.bytes_count = self._bytes is not None

    @property
    def quota(self) -> Quota:
        """The quota that applies."""
        return self._quota

    @property
    def is_unused(self) -> bool:
        """Whether a new budget would be the same."""
        buckets = (self._operations, self._bytes)
        return not self._held.total() and all(each is None or each.is_full for each in buckets)

    def begin(self, operations: int) -> None:
        """Count operations that are about to begin.

        Raises:
            Exhausted: the caller has used up its operations or bytes.
        """
        for bucket, what in ((self._operations, "operations"), (self._bytes, "bytes")):
            if bucket is not None and (pause_s := bucket.pause_s()):
                raise self._refusal(
                    f"{what} a second", f"try again in {pause_s:.3g} s", timedelta(seconds=pause_s)
                )
        if self._operations is not None:
            self._operations.spend(operations)

    def pay(self, size: int) -> None:
        """Count bytes that were received or are about to be sent."""
        if self._bytes is not None:
            self._bytes.spend(size)

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        """Count a `watch` or a `connection` while the context lasts.

        Raises:
            Exhausted: the caller has as many as it may.
        """
        most = self._most[what]
        if most is not None and self._held[what] >= most:
            raise self._refusal(_PLURALS[what], f"close one of {counted(most, what)}", None)
        self._held[what] += 1
        try:
            yield
        finally:
            self._held[what] -= 1

    def _refusal(self, what: str, remedy: str, retry_after: timedelta | None) -> Exhausted:
        self._on_refusal(what)
        whose = "that callers share" if self._quota.shared else "of this caller"
        return Exhausted(
            f"the quota of {what} {whose} is used up: {remedy}",
            reason="QUOTA_EXCEEDED",
            retry_after=retry_after,
        )


class Budgets:
    """Budgets of all callers that have a quota, by who they are.

    Args:
        on_refusal: called with what is used up, before a refusal is raised.
    """

    def __init__(self, on_refusal: Callable[[str], None]) -> None:
        self._on_refusal = on_refusal
        self._budgets: dict[str, Budget] = {}

    def of(self, owner: str, quota: Quota) -> Budget:
        """Return the budget of an owner, which is new if the owner has used nothing.

        Args:
            owner: name of a caller, or of a quota that callers share.
            quota: applies from now on; the same one as before keeps what is used.
        """
        budget = self._budgets.get(owner)
        if budget is None:
            if len(self._budgets) >= _MAX_BUDGETS:
                self._budgets = {
                    name: each for name, each in self._budgets.items() if not each.is_unused
                }
            budget = self._budgets[owner] = Budget(quota, self._on_refusal)
        elif budget.quota != quota:
            budget.replace(quota)
        return budget


def _bucket_of(per_second: int | None) -> TokenBucket | None:
    return None if per_second is None else TokenBucket(per_second, per_second)
