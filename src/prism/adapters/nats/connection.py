"""Keeps a link to the servers, and makes a new one for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prism.adapters.nats.failures import refused
from prism.adapters.nats.link import Link
from prism.adapters.nats.settings import NatsSettings
from prism.ports import PrismError

OpenedT = TypeVar("OpenedT")

_FIRST_PAUSE_S = 0.05
_PAUSE_S = 0.25
_LATER_PAUSE_S = 1.0
_CANCELLED_WITHIN_S = 0.1
_TRY_S = 1.5
"""A try that the network swallowed must not keep the next from a server that is back."""
_LATER_AFTER = 240

_logger = logging.getLogger(__name__)


class Connection(Generic[OpenedT]):
    """What is opened over a link, again over each new one.

    Args:
        prepare: opens it; a link it fails on is given up.
    """

    def __init__(
        self, settings: NatsSettings, prepare: Callable[[Link], Awaitable[OpenedT]]
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        self._link: Link | None = None
        self._opened: OpenedT | None = None
        self._restoring: asyncio.Task[None] | None = None
        self._last_error = ""
        self._is_closed = False

    @property
    def opened(self) -> OpenedT:
        """What stands over the link of now.

        Raises:
            BackendUnavailable: there is no link at present.
        """
        if self._opened is None:
            raise refused(self._settings.addresses, self._last_error)
        return self._opened

    @property
    def last_error(self) -> str:
        """Why the last link ended, or the next does not come about; empty: it never did."""
        return self._last_error

    async def open(self) -> None:
        """Connect, at the first try; raises as `Link.open` and `prepare` do."""
        await self._open(self._settings.connect_timeout.total_seconds())

    async def close(self) -> None:
        """End it, and try no more. Safe more than once."""
        self._is_closed = True
        self._opened = None
        while self._restoring is not None and not self._restoring.done():
            # The library may swallow a cancellation.
            self._restoring.cancel()
            await asyncio.wait([self._restoring], timeout=_CANCELLED_WITHIN_S)
        if self._link is not None:
            await self._link.close()

    async def _open(self, within_s: float) -> None:
        link = Link(self._settings)
        await link.open(within_s)
        try:
            opened = await self._prepare(link)
            if self._is_closed or not link.is_open:
                raise refused(link.address, link.last_error)
        except BaseException:
            await link.close()
            raise
        self._link, self._opened = link, opened
        link.when_lost(self._lost)

    def _lost(self, reason: str) -> None:
        self._opened = None
        self._last_error = reason
        if self._is_closed or self._link is None:
            return
        _logger.warning("the connection to %s broke: %s", self._settings.addresses, reason)
        self._restoring = asyncio.get_running_loop().create_task(self._restore(self._link))

    async def _restore(self, lost: Link) -> None:
        await lost.close()
        tries = 0
        within_s = min(self._settings.connect_timeout.total_seconds(), _TRY_S)
        while not self._is_closed:
            try:
                await self._open(within_s)
            except PrismError as error:
                self._last_error = error.message
            except Exception:
                _logger.exception("a try to connect to %s failed", self._settings.addresses)
            else:
                _logger.info("connected to %s again", self._settings.addresses)
                return
            # Apart from one another, so that many gateways do not come back as one.
            await asyncio.sleep(_pause(tries) * random.uniform(0.5, 1))  # noqa: S311
            tries += 1


def _pause(tries: int) -> float:
    if tries >= _LATER_AFTER:
        return _LATER_PAUSE_S
    return min(_FIRST_PAUSE_S * 2.0 ** min(tries, 8), _PAUSE_S)
