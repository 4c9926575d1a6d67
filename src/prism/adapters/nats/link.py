"""One connection to a server, from its opening to its end; it is never mended."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.command import hpub_cmd, pub_cmd

from prism.adapters.nats.client import AnswerClient
from prism.adapters.nats.dial import dial, hang_up, words
from prism.adapters.nats.exchange import Answer, Exchange, Several, Single
from prism.adapters.nats.exchanges import Exchanges
from prism.adapters.nats.failures import ApiError, broken, denied, refused
from prism.adapters.nats.settings import NatsSettings
from prism.ports import PrismError

OutcomeT = TypeVar("OutcomeT")

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
        self._client: AnswerClient
        # Nobody can guess it, and so answer in the place of the server.
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._tokens = itertools.count()
        self._exchanges = Exchanges(self.address, self.timeout_s, self._look)
        self._when_lost: list[Callable[[str], None]] = []
        self._overruns: dict[Subscription, Callable[[], None]] = {}
        self._is_open = False

    async def open(self, within_s: float) -> None:
        """Connect; once, and before anything else. Raises as `dial` does."""
        self._client = await dial(
            self._settings,
            within_s,
            lambda: AnswerClient(f"{self._inbox}.", self._exchanges.take),
            error_cb=self._note_error,
            closed_cb=self._note_closed,
        )
        self._is_open = True
        await self._client.subscribe(f"{self._inbox}.*")

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

    def request(
        self, subject: str, payload: bytes = b"", headers: bytes = b""
    ) -> Awaitable[Answer]:
        """The one answer.

        Args:
            headers: as they go, from the line before them to the empty one after.

        Raises:
            BackendUnavailable: nobody listens there, or the connection broke.
            BackendTimeout: no answer in time.
        """
        return self._ask(Single(subject), payload, headers)

    def answers(
        self, subject: str, payload: bytes, is_last: Callable[[Answer], bool]
    ) -> Awaitable[list[Answer]]:
        """The answers up to the last; raises as `request` does."""
        return self._ask(Several(subject, is_last), payload)

    async def deliveries(
        self, subject: str, payload: bytes, is_last: Callable[[Msg], bool]
    ) -> list[Msg]:
        """What a consumer delivers, up to the last; raises as `request` does."""
        exchange = Several(subject, is_last)

        async def take(message: Msg) -> None:
            exchange.take(message)

        # They come under subjects of their own, so they need an inbox of their own.
        inbox = f"{self._inbox}-{next(self._tokens)}"
        subscription = await self.subscribe(inbox, take, exchange.overrun)
        try:
            self._send(subject, payload, b"", inbox)
            return await self._exchanges.outcome(exchange, inbox)
        finally:
            await self.unsubscribe(subscription)

    def _ask(
        self, exchange: Exchange[OutcomeT], payload: bytes, headers: bytes = b""
    ) -> Awaitable[OutcomeT]:
        reply = f"{self._inbox}.{next(self._tokens)}"
        self._send(exchange.subject, payload, headers, reply)
        return self._exchanges.outcome(exchange, reply)

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
            self._send(subject, b"", b"", f"{self._inbox}.unheard")

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

    def _send(self, subject: str, payload: bytes, headers: bytes, reply: str) -> None:
        if not self._is_open:
            raise refused(self.address, self.last_error)
        if headers:
            command = hpub_cmd(subject, reply, headers, payload)
        else:
            command = pub_cmd(subject, reply, payload)
        try:
            self._client.send(command)
        except nats.errors.Error as error:
            self._lose(words(error))
            raise refused(self.address, self.last_error) from None

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

    async def _note_error(self, error: Exception) -> None:
        """Whatever the library has to tell: never raised anywhere else."""
        self.last_error = words(error)
        _logger.debug("%s: %s", self.address, self.last_error)
        if isinstance(error, nats.errors.SlowConsumerError):
            if overrun := self._overruns.get(error.sub):
                overrun()
        elif violation := _DENIED.search(self.last_error):
            self._deny(violation[1])

    def _deny(self, subject: str) -> None:
        """The library has the subject in small letters."""

        def denial(exchange: Exchange[Any]) -> PrismError | None:
            is_denied = exchange.subject.lower() == subject
            return denied(exchange.subject, self.address) if is_denied else None

        self._exchanges.end(denial)

    async def _note_closed(self) -> None:
        if self._is_open and self._client.last_error is not None:
            self.last_error = words(self._client.last_error)
        self._lose(self.last_error or "the server ended it")

    def _lose(self, reason: str) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self.last_error = reason
        self._exchanges.close(lambda: broken(self.address, reason))
        callbacks, self._when_lost = self._when_lost, []
        for callback in callbacks:
            callback(reason)

    def _look(self) -> None:
        """Whether the library gave up, and did not come to tell."""
        if self._client.is_closed:
            self._lose(self.last_error or "it was closed")
