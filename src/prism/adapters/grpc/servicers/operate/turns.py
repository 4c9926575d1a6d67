"""Operations on one key take effect in the order sent."""

from __future__ import annotations

from collections import defaultdict

from prism.adapters.grpc.servicers.operate.operation import Destination, Operation


class Turns:
    """Who waits for whom: each for the last before it on each of its destination's keys.

    An operation that was given up while it waited keeps its turn and does nothing
    with it, so that those after it still wait for those before.
    """

    def __init__(self) -> None:
        self._last: defaultdict[Destination, dict[str, Operation]] = defaultdict(dict)

    def take(self, operation: Operation) -> bool:
        """Queue up; whether it is its turn at once."""
        last = self._last[operation.destination]
        ahead = []
        for key in operation.keys:
            before = last.get(key)
            last[key] = operation
            if before is not None and before is not operation:
                ahead.append(before)
        # One that has to wait begins later, and who knows who keeps its order by then.
        if all(map(operation.is_kept_behind, ahead)):
            return True
        for before in ahead:
            if before.followers is None:
                before.followers = [operation]
            else:
                before.followers.append(operation)
        operation.ahead = len(ahead)
        return False

    def leave(self, operation: Operation) -> list[Operation]:
        """Its turn is over; those whose turn it is now, in order."""
        last = self._last[operation.destination]
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
