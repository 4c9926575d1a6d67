"""Connections to the servers: one connection, and the next one after it is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.command import hpub_cmd, pub_cmd

from prism.adapters.nats import credentials, errors
from prism.adapters.nats.requests import (
    Answer,
    AnswerClient,
    PendingRequest,
    PendingRequests,
    messages_until,
    only_answer,
)
from prism.adapters.nats.settings import NatsSettings
from prism.kit import ClientTls
from prism.ports import BackendUnavailable, Exhausted, InvalidArgument, PrismError, Unauthenticated

ResourceT = TypeVar("ResourceT")

_CREDENTIALS_REJECTED = re.compile("authorization|authentication", re.IGNORECASE)
_DENIED = re.compile(r'permissions violation for publish to "([^"]+)"')

_PING_INTERVAL_S = 5
_MAX_LOST_PINGS = 2
_CLOSE_TIMEOUT_S = 1.0

_FIRST_PAUSES_S = (0.05, 0.1, 0.2, *[0.25] * 237)
_LATER_PAUSE_S = 1.0
_CANCEL_WAIT_S = 0.1
_MAX_ATTEMPT_S = 1.5
"""An attempt whose packets are lost must not delay the next one for the whole connect timeout."""

_logger = logging.getLogger(__name__)


class Connection:
    """One connection to a server: many requests at once. It is never re-established.

    Requests in flight when the connection breaks fail at once, with an unknown outcome; later
    requests fail as not applied.

    Args:
        tls: TLS files; None: TLS is off.

    Attributes:
        last_error: the last error of the library, or why the connection ended.
        on_lost: called with the reason when the connection ends.
    """

    def __init__(self, settings: NatsSettings, tls: ClientTls | None) -> None:
        self.address = settings.addresses
        self.timeout_s = settings.timeout.total_seconds()
        self.is_open = False
        self.last_error = ""
        self.on_lost: list[Callable[[str], None]] = []
        self._settings = settings
        self._tls = tls
        self._client: AnswerClient
        self._library_error: Exception | None = None
        # The random part keeps other clients from answering in the server's place.
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._numbers = itertools.count()
        self._requests = PendingRequests(self.address, self.timeout_s, self._check_client)
        self._on_overflow: dict[Subscription, Callable[[], None]] = {}

    async def open(self, timeout_s: float) -> None:
        """Connect to one of the servers; called once, before all else.

        Args:
            timeout_s: time limit for each server.

        Raises:
            BackendUnavailable: no server could be reached.
            Unauthenticated: a server rejected the credentials.
            InvalidArgument: a file named in the settings cannot be used.
        """
        login = credentials.in_settings(self._settings)
        tls = None if self._tls is None else self._tls.context
        causes: list[str] = []
        for url in random.sample(self._settings.servers, len(self._settings.servers)):
            server, login_in_url = credentials.split_url(url)
            try:
                await self._connect(server, login or login_in_url, tls, timeout_s)
            except (nats.errors.Error, OSError) as error:
                causes.append(errors.library_text(error))
                if _CREDENTIALS_REJECTED.search(causes[-1]):
                    raise Unauthenticated(
                        f"the NATS server at {self.address} rejected the credentials"
                    ) from None
            except Exception as error:
                if self._settings.credentials is None:
                    raise
                # The library has an error of its own for each defect of the file.
                raise InvalidArgument(
                    f"the credentials file {self._settings.credentials} cannot be used: "
                    f"{type(error).__name__}"
                ) from None
            else:
                self.is_open = True
                await self._client.subscribe(f"{self._inbox}.*")
                return
        raise BackendUnavailable(
            f"the NATS server at {self.address} cannot be reached: {'; '.join(causes)}"
        )

    async def _connect(
        self,
        server: str,
        login: credentials.Credentials,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        self._client = AnswerClient(f"{self._inbox}.", self._requests.receive)
        self._library_error = None
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.connect(
                    [server],
                    name="prism",
                    # The library would repeat writes after their callers got the answer that the
                    # outcome is unknown.
                    allow_reconnect=False,
                    # The library tries twice, without a pause; zero would mean without end.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=timeout_s,  # type: ignore[arg-type]
                    pending_size=0,
                    ping_interval=_PING_INTERVAL_S,
                    max_outstanding_pings=_MAX_LOST_PINGS,
                    tls=tls,
                    error_cb=self._note_error,
                    closed_cb=self._note_closed,
                    **login,
                )
        except BaseException as error:
            await self._close_client()
            if isinstance(error, nats.errors.NoServersError) and self._library_error:
                # The library reports the cause in the background, and raises only that it failed.
                raise self._library_error from None
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no answer within {timeout_s:g} s") from None
            raise

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data together; the server disconnects a client that sends more."""
        return self._client.max_payload

    @property
    def server_version(self) -> tuple[int, int, int]:
        version = self._client.connected_server_version
        return version.major, version.minor, version.patch

    def request(
        self, subject: str, payload: bytes = b"", headers: bytes = b""
    ) -> Awaitable[Answer]:
        """Send a request at once, and return an awaitable of its one answer.

        Args:
            headers: encoded headers, as `encode_headers` returns them.

        Raises:
            BackendUnavailable: no server handles the subject, or the connection broke.
            BackendTimeout: no answer in time.
        """
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._send(subject, payload, headers, reply)
        return self._requests.wait(PendingRequest(subject, only_answer), reply)

    def request_many(
        self, subject: str, payload: bytes, is_last: Callable[[Answer], bool]
    ) -> Awaitable[list[Answer]]:
        """Send a request, and return an awaitable of all its answers; raises as `request` does."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._send(subject, payload, b"", reply)
        return self._requests.wait(PendingRequest(subject, messages_until(is_last)), reply)

    async def pull(self, subject: str, payload: bytes, is_last: Callable[[Msg], bool]) -> list[Msg]:
        """Return the messages that a consumer delivers; raises as `request` does."""
        request = PendingRequest(subject, messages_until(is_last))

        async def receive(message: Msg) -> None:
            request.receive(message)

        def overflow() -> None:
            request.fail(Exhausted("too many messages arrived at once: ask for fewer"))

        # A consumer delivers messages under their own subjects: only a subscription of its own
        # tells them from others.
        inbox = f"{self._inbox}-{next(self._numbers)}"
        subscription = await self.subscribe(inbox, receive, overflow)
        try:
            self._send(subject, payload, b"", inbox)
            return await self._requests.wait(request, inbox)
        finally:
            await self.unsubscribe(subscription)

    async def api(
        self, name: str, request: Mapping[str, object] | None = None, *, absent: int = 0
    ) -> Any:
        """Return the JSON object that JetStream's API answers with; raises as `request` does.

        Args:
            absent: number of the error for which the result is None.

        Raises:
            PrismError: the answer is another error.
        """
        payload = b"" if request is None else json.dumps(request).encode()
        return self._result_of(await self.request(f"$JS.API.{name}", payload), absent)

    async def read_api(self, name: str, request: Mapping[str, object], *, absent: int) -> Any:
        """Return what `api` returns for a request that changes nothing.

        Within the time limit it is repeated, because servers that elect a leader ignore it.
        """
        subject, payload = f"$JS.API.{name}", json.dumps(request).encode()
        reply = f"{self._inbox}.{next(self._numbers)}"

        def send() -> None:
            with suppress(PrismError):
                self._send(subject, payload, b"", reply)

        self._send(subject, payload, b"", reply)
        pending = PendingRequest(subject, only_answer, send)
        return self._result_of(await self._requests.wait(pending, reply), absent)

    def distrust(self, what: object) -> BackendUnavailable:
        """Break the connection, and return the error for an answer that no request causes.

        A byte may have changed on the way, so that nothing is known of the request.
        """
        _logger.error("%s sent an answer that no request of Prism causes: %s", self.address, what)
        self.fail("the server sent an answer that no request of Prism causes")
        return errors.connection_lost(self.address, self.last_error)

    def _result_of(self, answer: Answer, absent: int) -> Any:
        try:
            fields = json.loads(answer.data)
            error: errors.ApiError | None = fields.get("error")
        except (ValueError, AttributeError):
            raise self.distrust("not the JSON object of an answer") from None
        if error is not None and error.get("err_code") in errors.MALFORMED_REQUEST:
            raise self.distrust(error.get("description"))
        if error is None:
            return fields
        if error.get("err_code") == absent:
            return None
        raise errors.translate(error, self.address)

    def send_unanswered(self, subject: str) -> None:
        """Send a request and ignore its answer; do nothing when the connection is lost."""
        with suppress(PrismError):
            self._send(subject, b"", b"", f"{self._inbox}.ignored")

    async def subscribe(
        self,
        subject: str,
        callback: Callable[[Msg], Awaitable[None]],
        on_overflow: Callable[[], None],
    ) -> Subscription:
        """Await the callback for every message on the subject.

        Args:
            on_overflow: called when the library dropped messages because too many waited.
        """
        with self._translated():
            subscription = await self._client.subscribe(subject, cb=callback)
        self._on_overflow[subscription] = on_overflow
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        del self._on_overflow[subscription]
        with suppress(PrismError), self._translated():
            await subscription.unsubscribe()

    def fail(self, reason: str) -> None:
        """Treat the connection as broken. Safe more than once."""
        if not self.is_open:
            return
        self.is_open = False
        self.last_error = reason
        self._requests.close(reason)
        for callback in self.on_lost:
            callback(reason)

    async def close(self) -> None:
        """End the connection. Safe more than once."""
        self.fail("it was closed")
        await self._close_client()

    async def _close_client(self) -> None:
        with suppress(nats.errors.Error, OSError, TimeoutError, AssertionError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.close()

    def _send(self, subject: str, payload: bytes, headers: bytes, reply: str) -> None:
        if not self.is_open:
            raise errors.not_connected(self.address, self.last_error)
        if headers:
            command = hpub_cmd(subject, reply, headers, payload)
        else:
            command = pub_cmd(subject, reply, payload)
        try:
            self._client.send(command)
        except nats.errors.Error as error:
            self.fail(errors.library_text(error))
            raise errors.not_connected(self.address, self.last_error) from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate what the library raises when it subscribes or unsubscribes."""
        if not self.is_open:
            raise errors.not_connected(self.address, self.last_error)
        try:
            yield
        except nats.errors.Error as error:
            # The library raises these before it queues or writes a byte.
            self.fail(errors.library_text(error))
            raise errors.not_connected(self.address, self.last_error) from None
        except OSError as error:
            self.fail(errors.library_text(error))
            raise errors.connection_lost(self.address, self.last_error) from None

    async def _note_error(self, error: Exception) -> None:
        """Process an error that the library reports in its background tasks."""
        self._library_error = error
        self.last_error = errors.library_text(error)
        _logger.debug("%s: %s", self.address, self.last_error)
        if isinstance(error, nats.errors.SlowConsumerError):
            if on_overflow := self._on_overflow.get(error.sub):
                on_overflow()
        elif violation := _DENIED.search(self.last_error):
            self._requests.deny(violation[1])

    async def _note_closed(self) -> None:
        if self.is_open and self._client.last_error is not None:
            self.last_error = errors.library_text(self._client.last_error)
        self.fail(self.last_error or "the server ended it")

    def _check_client(self) -> None:
        """Notice a client that the library closed without calling back."""
        if self._client.is_closed:
            self.fail(self.last_error or "it was closed")


class Reconnector(Generic[ResourceT]):
    """Keeps a connection open, and a resource that is opened again over each new one.

    Args:
        open_resource: opens the resource; a connection on which this fails is closed.

    Raises:
        InvalidArgument: a TLS file cannot be used.

    Attributes:
        last_error: why the last connection ended, or the last attempt failed; empty: neither.
    """

    def __init__(
        self, settings: NatsSettings, open_resource: Callable[[Connection], Awaitable[ResourceT]]
    ) -> None:
        self._settings = settings
        self._tls = credentials.tls_of(settings)
        self._open_resource = open_resource
        self._connection: Connection | None = None
        self._resource: ResourceT | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self.last_error = ""
        self._is_closed = False

    @property
    def resource(self) -> ResourceT:
        """The resource over the present connection.

        Raises:
            BackendUnavailable: there is no connection at present.
        """
        if self._resource is None:
            raise errors.not_connected(self._settings.addresses, self.last_error)
        return self._resource

    async def open(self) -> None:
        """Connect, in one attempt; raises as `Connection.open` and `open_resource` do."""
        await self._open(self._settings.connect_timeout.total_seconds())

    def reload(self, settings: NatsSettings) -> None:
        """Use the secrets in these settings for further connections.

        Raises:
            InvalidArgument: more than secrets has changed, or a key cannot be decrypted.
        """
        if settings.addresses != self._settings.addresses:
            raise InvalidArgument(
                f"the NATS URL now names {settings.addresses}: restart the server to use others"
            )
        if self._tls is not None and settings.tls_key_password != self._settings.tls_key_password:
            self._tls.use_password(settings.tls_key_password)
        self._settings = settings

    async def close(self) -> None:
        """Close the connection and stop reconnecting. Safe more than once."""
        self._is_closed = True
        self._resource = None
        while self._reconnecting is not None and not self._reconnecting.done():
            # The library may swallow a cancellation, so this is repeated.
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting], timeout=_CANCEL_WAIT_S)
        if self._connection is not None:
            await self._connection.close()

    async def _open(self, timeout_s: float) -> None:
        connection = Connection(self._settings, self._tls)
        await connection.open(timeout_s)
        try:
            resource = await self._open_resource(connection)
            if self._is_closed or not connection.is_open:
                raise errors.not_connected(connection.address, connection.last_error)
        except BaseException:
            await connection.close()
            raise
        self._connection, self._resource = connection, resource
        connection.on_lost.append(self._lost)

    def _lost(self, reason: str) -> None:
        self._resource = None
        self.last_error = reason
        if self._is_closed or self._connection is None:
            return
        _logger.warning("the connection to %s broke: %s", self._settings.addresses, reason)
        self._reconnecting = asyncio.get_running_loop().create_task(
            self._reconnect(self._connection)
        )

    async def _reconnect(self, lost: Connection) -> None:
        await lost.close()
        pauses = itertools.chain(_FIRST_PAUSES_S, itertools.repeat(_LATER_PAUSE_S))
        timeout_s = min(self._settings.connect_timeout.total_seconds(), _MAX_ATTEMPT_S)
        while not self._is_closed:
            try:
                await self._open(timeout_s)
            except PrismError as error:
                self.last_error = error.message
            except Exception:
                _logger.exception("an attempt to connect to %s failed", self._settings.addresses)
            else:
                _logger.info("connected to %s again", self._settings.addresses)
                return
            # Random, so that many gateways do not reconnect at the same moment.
            await asyncio.sleep(next(pauses) * random.uniform(0.5, 1))  # noqa: S311
