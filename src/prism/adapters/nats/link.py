"""One connection to a server, from its opening to its end; it is never mended."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from prism.adapters.nats.dial import dial, hang_up, words
from prism.adapters.nats.exchange import Exchange, IsLast
from prism.adapters.nats.failures import ApiError, broken, denied, refused
from prism.adapters.nats.settings import NatsSettings
from prism.ports import BackendTimeout, BackendUnavailable, Outcome, PrismError

STATUS = "Status"

_NO_RESPONDERS = "503"
_DENIED = re.compile(r'permissions violation for publish to "([^"]+)"')

_logger = logging.getLogger(__name__)


class Link:
    """Requests and their answers, many at once, over one connection.

    What is in flight when it breaks fails at once, with an unknown outcome; what is
    asked for afterwards is refused, and not applied.
    """

    def __init__(self, settings: NatsSettings) -> None:
        self.address = settings.addresses
        self.last_error = ""
        self._settings = settings
        self.timeout_s = settings.timeout.total_seconds()
        self._client: Client
        self._inbox = ""
        self._tokens = itertools.count()
        self._exchanges: dict[str, Exchange] = {}
        self._when_lost: list[Callable[[str], None]] = []
        self._overruns: dict[Subscription, Callable[[], None]] = {}
        self._is_open = False

    async def open(self, within_s: float) -> None:
        """Connect; once, and before anything else. Raises as `dial` does."""
        self._client = await dial(
            self._settings, within_s, error_cb=self._note_error, closed_cb=self._note_closed
        )
        self._is_open = True
        self._inbox = self._client.new_inbox()
        # Without bounds: what was asked for is never dropped.
        await self._client.subscribe(
            f"{self._inbox}.*", cb=self._take, pending_msgs_limit=0, pending_bytes_limit=0
        )

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data together, beyond which the server hangs up."""
        return self._client.max_payload

    @property
    def server_version(self) -> tuple[int, int]:
        version = self._client.connected_server_version
        return version.major, version.minor

    def when_lost(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have it called with the reason when the link ends; the answer takes that back."""
        self._when_lost.append(callback)

        def forget() -> None:
            if callback in self._when_lost:
                self._when_lost.remove(callback)

        return forget

    async def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> Msg:
        """The one answer.

        Raises:
            BackendUnavailable: nobody listens there, or the connection broke.
            BackendTimeout: no answer in time.
        """
        reply = f"{self._inbox}.{next(self._tokens)}"
        (message,) = await self._answers(Exchange(subject), reply, payload, headers)
        if message.headers and message.headers.get(STATUS) == _NO_RESPONDERS:
            raise BackendUnavailable(
                f"the bucket does not answer at {self.address}: no JetStream, or no leader now",
                outcome=Outcome.NOT_APPLIED,
            )
        return message

    async def deliveries(self, subject: str, payload: bytes, is_last: IsLast) -> list[Msg]:
        """What a consumer delivers, up to the last; raises as `request` does."""
        exchange = Exchange(subject, is_last)

        async def take(message: Msg) -> None:
            exchange.take(message)

        # They come under subjects of their own, so they need an inbox of their own.
        inbox = f"{self._inbox}.{next(self._tokens)}.deliveries"
        subscription = await self.subscribe(inbox, take, exchange.overrun)
        try:
            return await self._answers(exchange, inbox, payload, None)
        finally:
            await self.unsubscribe(subscription)

    async def _answers(
        self, exchange: Exchange, reply: str, payload: bytes, headers: dict[str, str] | None
    ) -> list[Msg]:
        self._exchanges[reply] = exchange
        timer = asyncio.get_running_loop().call_later(self.timeout_s, self._time_out, exchange)
        try:
            await self._publish(exchange.subject, payload, headers, reply)
            return await exchange.whole
        finally:
            timer.cancel()
            del self._exchanges[reply]
            exchange.forget()

    async def api(self, name: str, request: Any = None) -> dict[str, Any]:
        """The answer of JetStream's API; raises as `request` does.

        Raises:
            ApiError: it is an error.
        """
        payload = b"" if request is None else json.dumps(request).encode()
        answer: dict[str, Any] = json.loads((await self.request(f"$JS.API.{name}", payload)).data)
        if "error" in answer:
            raise ApiError(answer["error"])
        return answer

    async def tell(self, subject: str) -> None:
        """Ask for something whose answer, or refusal, nobody waits for."""
        with suppress(PrismError):
            await self._publish(subject, b"", None, f"{self._inbox}.unheard")

    async def subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], overrun: Callable[[], None]
    ) -> Subscription:
        """Have the callback awaited for every message; `overrun` says that some were dropped."""
        with self._translated():
            subscription = await self._client.subscribe(subject, cb=callback)
        self._overruns[subscription] = overrun
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        del self._overruns[subscription]
        with suppress(PrismError), self._translated():
            await subscription.unsubscribe()

    def give_up(self, reason: str) -> None:
        """End it as one that broke: what was opened over it holds no more."""
        self._lose(reason)

    async def close(self) -> None:
        """End it. Safe more than once."""
        self._lose("it was closed")
        await hang_up(self._client)

    async def _publish(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, reply: str
    ) -> None:
        with self._translated():
            await self._client.publish(subject, payload, reply, headers)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the library raises as it is asked to send."""
        if not self._is_open:
            raise refused(self.address, self.last_error)
        try:
            yield
        except nats.errors.Error as error:
            # Before it kept or wrote a byte.
            self._lose(words(error))
            raise refused(self.address, self.last_error) from None
        except OSError as error:
            self._lose(words(error))
            raise broken(self.address, self.last_error) from None

    async def _take(self, message: Msg) -> None:
        exchange = self._exchanges.get(message.subject)
        if exchange is not None:
            exchange.take(message)

    async def _note_error(self, error: Exception) -> None:
        """Whatever the library has to tell: never raised anywhere else."""
        self.last_error = words(error)
        _logger.debug("%s: %s", self.address, self.last_error)
        if isinstance(error, nats.errors.SlowConsumerError):
            if overrun := self._overruns.get(error.sub):
                overrun()
        elif violation := _DENIED.search(self.last_error):
            # In small letters, as the library has it.
            for exchange in self._exchanges.values():
                if exchange.subject.lower() == violation[1]:
                    exchange.fail(denied(exchange.subject, self.address))

    async def _note_closed(self) -> None:
        if self._is_open and self._client.last_error is not None:
            self.last_error = words(self._client.last_error)
        self._lose(self.last_error or "the server ended it")

    def _lose(self, reason: str) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self.last_error = reason
        for exchange in self._exchanges.values():
            exchange.fail(broken(self.address, reason))
        callbacks, self._when_lost = self._when_lost, []
        for callback in callbacks:
            callback(reason)

    def _time_out(self, exchange: Exchange) -> None:
        exchange.fail(BackendTimeout(f"{self.address} gave no answer within {self.timeout_s:g} s"))
        if self._client.is_closed:
            # The library gave up, and did not come to tell.
            self._lose(self.last_error or "it was closed")
