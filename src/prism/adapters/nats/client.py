"""The library's client, changed where it would lose secrets, callers or time.

The only file that knows private names of nats-py; tests/unit/nats/test_client.py fails
when one of them is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.protocol.parser import Parser

Take = Callable[[bytes, bytes, bytes], None]
"""Gets the subject, the headers as they came, and the data of a message."""

_LINE_END = b"\r\n"


class AnswerClient(Client):
    """A client whose answers go where they are waited for, with nothing in between.

    The library's would send its credentials in clear where TLS was asked for. And, on
    closing, it writes what is not sent yet; on a connection that broke it fails at that,
    and so would neither say that it is closed nor end its tasks.

    Args:
        inbox: what the subjects begin with whose messages are answers.
        take: gets them; must not raise.
    """

    def __init__(self, inbox: str, take: Take) -> None:
        super().__init__()
        self._ps = AnswerParser(self, inbox, take)

    def send(self, command: bytes) -> None:
        """Have it written, together with all that is sent in the same turn of the loop.

        Raises:
            nats.errors.ConnectionClosedError: nothing was kept.
        """
        if not self.is_connected or self._flush_queue is None:
            raise nats.errors.ConnectionClosedError
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


class AnswerParser(Parser):
    """Takes out the answers, and leaves all else to the library.

    Which would parse every header of each, make a message of it, and put that into the
    queue of a subscription for a task to fetch: three quarters of what an answer costs.
    """

    def __init__(self, client: Client, inbox: str, take: Take) -> None:
        self._inbox = inbox.encode()
        self._take = take
        super().__init__(client)

    def reset(self) -> None:
        """Forget what came of a message that is not whole."""
        super().reset()
        self._parts: list[bytes] = []
        self._missing = 0

    async def parse(self, data: bytes = b"") -> None:
        """Hand on each whole message, and keep the rest until more of it comes.

        Raises:
            nats.errors.ProtocolError: this is not how a server of NATS talks.
        """
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, size = 0, len(data)
        while at < size:
            body = data.find(_LINE_END, at) + 2
            if body == 1:
                # There is more of the line to come, and maybe no more than its end.
                self._keep(data[at:], 1)
                return
            headed = data.startswith(b"HMSG ", at)
            if not headed and not data.startswith(b"MSG ", at):
                await super().parse(data[at:body])
                at = body
                continue
            line = data[at:body].split()
            try:
                end = body + int(line[-1])
                split = body + int(line[-2]) if headed else body
            except ValueError:
                raise nats.errors.ProtocolError from None
            if end + 2 > size:
                self._keep(data[at:], end + 2 - size)
                return
            if line[1].startswith(self._inbox):
                self._take(line[1], data[body:split], data[split:end])
            else:
                await super().parse(data[at : end + 2])
            at = end + 2

    def _keep(self, part: bytes, missing: int) -> None:
        self._parts.append(part)
        self._missing = missing
