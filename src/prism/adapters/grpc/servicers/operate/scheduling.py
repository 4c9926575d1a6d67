"""Order of the operations of a stream: on each key, and of short and long ones."""

from __future__ import annotations

from collections import defaultdict, deque

from prism.adapters.grpc.servicers.operate.operation import Operation, Route

_SHORT_BETWEEN = 256


class LongOperations(deque[Operation]):
    """Operations on many keys that may begin, in their order.

    Operations on one key begin first, because each of these takes as long as hundreds of
    them. At a proxy's pattern they come from other callers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0

    def is_due(self) -> bool:
        """Count a short operation that may begin; return whether a long one begins instead."""
        self._passed += 1
        if self._passed <= _SHORT_BETWEEN:
            return False
        self._passed = 0
        return True


class KeyQueues:
    """Queues of operations by route and key: operations on one key run in the order sent.

    An operation that ends in the step in which it begins needs no place in them.

    An operation that is given up while it waits keeps its place in the queues and does
    nothing when it is due, so that those behind it still wait for those ahead of it.
    """

    def __init__(self) -> None:
        self._last: defaultdict[Route, dict[str, Operation]] = defaultdict(dict)

    def lets_begin(self, operation: Operation) -> bool:
        """Whether an operation on one key may begin at once: none ahead of it holds it up."""
        last = self._last.get(operation.route)
        if not last:
            return True
        (key,) = operation.keys
        before = last.get(key)
        return before is None or operation.is_ordered_behind(before)

    def append(self, operation: Operation) -> None:
        """Queue an operation on one key that `lets_begin` has let begin."""
        operation.is_queued = True
        self._last[operation.route][operation.keys[0]] = operation

    def enter(self, operation: Operation) -> bool:
        """Queue the operation for each of its keys; return whether it may begin at once."""
        operation.is_queued = True
        last = self._last[operation.route]
        ahead = []
        for key in operation.keys:
            before = last.get(key)
            last[key] = operation
            if before is not None and before is not operation:
                ahead.append(before)
        # Only now: which downstream will order an operation that begins later is unknown.
        if all(map(operation.is_ordered_behind, ahead)):
            return True
        for before in ahead:
            if before.followers is None:
                before.followers = [operation]
            else:
                before.followers.append(operation)
        operation.ahead = len(ahead)
        return False

    def leave(self, operation: Operation) -> list[Operation]:
        """Remove an operation that has ended; return those that may begin now, in order."""
        last = self._last[operation.route]
        for key in operation.keys:
            if last.get(key) is operation:
                del last[key]
        if operation.followers is None:
            return []
        ready = []
        for follower in operation.followers:
            follower.ahead -= 1
            if not follower.ahead:
                ready.append(follower)
        return ready
