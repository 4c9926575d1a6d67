"""Operations on one key take effect in the order sent."""

from __future__ import annotations

from collections import defaultdict

from prism.adapters.grpc.servicers.operate.operation import Operation


class Turns:
    """Who waits for whom: each for the last before it on each of its pattern's keys.

    An operation that was given up while it waited keeps its turn and does nothing
    with it, so that those after it still wait for those before.
    """

    def __init__(self) -> None:
        self._last: defaultdict[str, dict[str, Operation]] = defaultdict(dict)

    def take(self, operation: Operation) -> bool:
        """Queue up; whether it is its turn at once."""
        last = self._last[operation.pattern]
        for key in operation.keys:
            before = last.get(key)
            last[key] = operation
            if before is None or before is operation or operation.is_kept_behind(before):
                continue
            if before.followers is None:
                before.followers = [operation]
            else:
                before.followers.append(operation)
            operation.ahead += 1
        return operation.ahead == 0

    def leave(self, operation: Operation) -> list[Operation]:
        """Its turn is over; those whose turn it is now, in order."""
        last = self._last[operation.pattern]
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
