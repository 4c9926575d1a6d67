"""Tokens, certificates, authorities and policies are replaced while 64 callers work."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import prism
from prism import TLS
from prism.domain.access.tokens import new_token
from prism.kit import client_tls_context
from prism.ports import (
    AccessDenied,
    PrismError,
    Unauthenticated,
)
from tests.integration.access.conftest import POLICY, Serve, new_line
from tests.servers.authority import Authority, replace_file

CALLERS = 64

LONGEST_S = 10.0
"""Time limit from the signal until removed credentials are refused, also on a busy machine."""


class Load:
    """Callers that write one after the other, each over the connection that is current.

    Attributes:
        kv: the current connection.
        done: number of calls.
        failures: errors of calls.
    """

    def __init__(self, kv: Any) -> None:
        self.kv = kv
        self.done = 0
        self.failures: list[PrismError] = []
        self.stopped = False

    async def call(self, number: int) -> None:
        while not self.stopped:
            try:
                await self.kv.set(f"orders/{number}", b"v")
            except PrismError as error:
                self.failures.append(error)
                return
            self.done += 1

    async def go_on(self) -> None:
        """Wait until each caller has called again, over the current connection."""
        done = self.done
        await until(lambda: truth(self.failures != [] or self.done > done + 4 * CALLERS))
        assert self.failures == []


async def truth(value: bool) -> bool:
    return value


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_what_is_replaced_under_load_fails_no_call_and_what_was_there_is_refused(
    serve: Serve, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    cert, key = old.write(tmp_path, "server")
    client_ca, roots = tmp_path / "client-ca.pem", tmp_path / "roots.pem"
    for path in (client_ca, roots):
        path.write_bytes(old.pem + new.pem)
    server = await serve(tls_cert=cert, tls_key=key, tls_client_ca=client_ca)
    address = server.address.replace("127.0.0.1", "localhost")
    old_cert, old_key = old.write(tmp_path, "before")
    new_cert, new_key = new.write(tmp_path, "after")
    old_tls = TLS(ca=roots, cert=old_cert, key=old_key)
    new_tls = TLS(ca=roots, cert=new_cert, key=new_key)
    reloader = server.container.common.reloader()
    loop = asyncio.get_running_loop()

    def connect(token: str, tls: TLS) -> Any:
        return prism.connect(address, token=token, tls=tls, retry=False)

    async def refused(call: Callable[[], Awaitable[object]], *kinds: type[Exception]) -> None:
        """Ask the server to read its files, and wait until a call is refused."""
        reloader.request()
        asked_at = loop.time()
        await until(lambda: fails(call, kinds))
        assert loop.time() - asked_at < LONGEST_S

    async with AsyncExitStack() as stack:
        reading = asyncio.create_task(reloader.run())
        stack.callback(reading.cancel)
        before = await stack.enter_async_context(connect(server.tokens["orders"], old_tls))
        load = Load(before)
        callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]
        await load.go_on()

        # The token: both are valid, the callers change to the new one, and the old one goes.
        token = new_token("orders")[0]
        lines = server.folder / "tokens"
        lines.write_text(f"{lines.read_text()}\n{new_line('orders', token)}")
        reloader.request()
        after = await connected(stack, lambda: connect(token, new_tls))
        load.kv = after
        await load.go_on()
        kept = {name: each for name, each in server.tokens.items() if name != "orders"}
        server.write_tokens(**kept, orders=token)
        await refused(lambda: before.exists("orders/1"), Unauthenticated)
        await load.go_on()

        # The certificate of the server, and the authority of the old client's.
        context = client_tls_context(ca=roots, cert=old_cert, key=old_key)
        context.set_alpn_protocols(["h2"])
        await greeted(address, context)
        new.write(tmp_path, "server")
        replace_file(client_ca, new.pem)
        # The settings of this server come from no options, which a reloader would read again.
        common = server.container.common
        tls = common.settings().server_options.tls
        assert await common.grpc_server().reload_tls(tls)
        await refused(lambda: greeted(address, context), OSError)
        await load.go_on()

        # The policy: what alice could do is not allowed any more.
        alice = await connected(stack, lambda: connect(server.tokens["alice"], new_tls))
        assert not await alice.exists("stock/1")
        replace_file(server.folder / "policy.toml", POLICY.replace('"token:alice", ', "").encode())
        await refused(lambda: alice.exists("stock/1"), AccessDenied)
        await load.go_on()
        load.stopped = True
        await asyncio.gather(*callers)
    assert load.failures == []


async def connected(stack: AsyncExitStack, connect: Callable[[], Any]) -> Any:
    """Return a connection, once the server accepts its token."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await stack.enter_async_context(connect())
            except Unauthenticated:
                await asyncio.sleep(0.02)


async def greeted(address: str, context: ssl.SSLContext) -> None:
    """Connect; raise OSError unless the server accepts the certificate, and begins HTTP/2."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        # With TLS 1.3, a refusal comes after the handshake of the client.
        if not await reader.read(1):
            raise ConnectionResetError
    finally:
        writer.close()


async def fails(call: Callable[[], Awaitable[object]], kinds: tuple[type[Exception], ...]) -> bool:
    try:
        await call()
    except kinds:
        return True
    return False
