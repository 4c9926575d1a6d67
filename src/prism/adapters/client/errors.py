"""Errors of the gRPC library, translated into errors of the ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import grpc
from google.rpc import code_pb2, status_pb2

from prism.adapters.client.http_proxy import proxy_variable
from prism.adapters.wire.status import error_of
from prism.ports import InvalidArgument, PrismError, WatchEnded

Result = TypeVar("Result")
OpenCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

_OVERWRITTEN = "Internal error from Core"
_STATUS_FOLLOWS_WITHIN_S = 1.0


def check_address(address: str) -> None:
    """Raise InvalidArgument unless the address is `host:port` or `unix:PATH`."""
    if address.startswith("unix:"):
        if address == "unix:":
            raise InvalidArgument("the address 'unix:' names no socket; give unix:PATH")
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgument(f"the address {address!r} is neither host:port nor unix:PATH")


class ErrorTranslator:
    """Translates what `grpc.aio` raises for calls to one server.

    A status without Prism's details was made by a library on the way and does not say
    which server was called, so the message is completed with its name.

    Args:
        address: `host:port` or `unix:PATH`.
        name: name of the server in error messages; empty: its address.
        on_broken: called with the library's details when no server sent the error.

    Raises:
        InvalidArgument: the address has neither form.
    """

    def __init__(
        self, address: str, name: str = "", on_broken: Callable[[str], None] | None = None
    ) -> None:
        check_address(address)
        self.address = address
        self._name = name
        self._on_broken = on_broken

    def of_call(self, error: grpc.aio.AioRpcError) -> PrismError:
        """Return the error of a call that failed."""
        return self._sent_error(error) or error_of(self._status_of(error))

    def of_operations(self, error: grpc.aio.AioRpcError) -> PrismError:
        """Return the error of the pending operations of a stream that failed."""
        sent = self._sent_error(error)
        if sent is not None:
            return sent
        status = self._status_of(error)
        if status.code not in (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED):
            # Whichever code the library chose, the connection broke.
            status.code = code_pb2.UNAVAILABLE
        return error_of(status)

    def of_watch(self, error: grpc.aio.AioRpcError) -> PrismError:
        """Return the error of a watch that had started and failed."""
        if self._name:
            reason = f"the connection to {self._name} broke"
        else:
            reason = f"the connection to {self.address} broke ({error.details()})"
        return self._sent_error(error) or WatchEnded(
            f"{reason}: start a new watch and re-read the keys"
        )

    def _sent_error(self, error: grpc.aio.AioRpcError) -> PrismError | None:
        """Return the error that a Prism server sent; None: the library made it."""
        for key, value in error.trailing_metadata():
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                return error_of(status_pb2.Status.FromString(value))
        if self._on_broken is not None:
            self._on_broken(error.details() or "")
        return None

    def _status_of(self, error: grpc.aio.AioRpcError) -> status_pb2.Status:
        message = f"{self._name or self.address}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            # The library's details contain addresses, which the name of a pattern hides.
            message = (
                f"{self._name} does not answer"
                if self._name
                else f"no Prism server answers at {self.address} ({error.details()})"
            )
            if variable := proxy_variable(self.address):
                message += (
                    f"; it is called through the proxy that {variable} names: unset {variable}, "
                    "or add the host to no_proxy"
                )
        return status_pb2.Status(code=error.code().value[0], message=message)


class TrueStatus:
    """The status with which the server ended a stream.

    When the server ends a stream while a message is being written, grpc.aio replaces the
    server's status by an INTERNAL of its own, before or after the real one arrives:
    https://github.com/grpc/grpc/issues/36066. It calls the done callbacks for each of
    them, so the real one can be recorded.
    """

    def __init__(self, call: OpenCall) -> None:
        self._status: asyncio.Future[grpc.aio.AioRpcError] = (
            asyncio.get_running_loop().create_future()
        )
        call.add_done_callback(self._record)

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the error that the call should have raised instead of this one."""
        if error.details() != _OVERWRITTEN:
            return error
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_FOLLOWS_WITHIN_S):
                return await asyncio.shield(self._status)
        return error

    def _record(self, call: OpenCall) -> None:
        code, details = _result_now(call.code()), _result_now(call.details())
        trailers = _result_now(call.trailing_metadata())
        if self._status.done() or code is None or trailers is None or details == _OVERWRITTEN:
            return
        self._status.set_result(
            grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=details)
        )


def _result_now(answer: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what a coroutine returns without waiting, as these do once the call is done."""
    try:
        answer.send(None)
    except StopIteration as returned:
        result: Result = returned.value
        return result
    answer.close()
    return None
