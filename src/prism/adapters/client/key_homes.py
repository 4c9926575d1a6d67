"""The server that gets the operations on a key."""

from __future__ import annotations

from prism.adapters.client.server import Server

_KEPT_KEYS = 8192


class _Home:
    __slots__ = ("in_flight", "server", "spread")

    def __init__(self, server: Server, spread: int) -> None:
        self.server = server
        self.spread = spread
        self.in_flight = 0


class KeyHomes:
    """The server of each key that was used lately.

    Operations on one key go to one server while it serves, so they keep their order. The keys
    used before the last 8,192 others are forgotten, unless an operation on them is in flight.
    """

    def __init__(self) -> None:
        self._homes: dict[str, _Home] = {}
        self._spread = 0

    def get(self, key: str) -> Server | None:
        """Return the server of a key; None: it has none."""
        home = self._homes.get(key)
        if home is None or (home.spread != self._spread and not home.in_flight):
            return None
        return home.server

    def enter(self, key: str, server: Server) -> None:
        """Note that an operation on a key begins at a server."""
        home = self._homes.get(key)
        if home is None or home.server is not server:
            self._homes.pop(key, None)
            home = self._homes[key] = _Home(server, self._spread)
            if len(self._homes) > _KEPT_KEYS:
                self._forget_oldest()
        if not home.in_flight:
            home.spread = self._spread
        home.in_flight += 1

    def leave(self, key: str, server: Server) -> None:
        """Note that an operation on a key has ended at a server."""
        home = self._homes.get(key)
        if home is not None and home.server is server:
            home.in_flight -= 1

    def spread(self) -> None:
        """Give each key a server again once nothing on it is in flight: there is another one."""
        self._spread += 1

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._homes))
        home = self._homes.pop(oldest)
        if home.in_flight > 0:
            self._homes[oldest] = home
