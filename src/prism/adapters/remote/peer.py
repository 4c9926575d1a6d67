"""The server at the other end: how it is reached, and what failures of calls to it are."""

from __future__ import annotations

import grpc
from google.rpc import code_pb2, status_pb2

from prism.adapters.wire.status import error_of
from prism.ports import InvalidArgument, PrismError, WatchEnded


class Peer:
    """Turns what the gRPC library raises into our errors.

    A status without our details was made by a library on the way, and so without a word
    of who we talk to.

    Args:
        address: `host:port` or `unix:PATH`.
        called: what errors call it by; empty: its address.

    Attributes:
        target: what gRPC calls the address.
    """

    def __init__(self, address: str, called: str = "") -> None:
        self.address = address
        self.target = _target_of(address)
        self._called = called

    def call_failed(self, error: grpc.aio.AioRpcError) -> PrismError:
        """A call was answered with an error, or not at all."""
        return _told(error) or error_of(self._status_of(error))

    def stream_broke(self, error: grpc.aio.AioRpcError) -> PrismError:
        """What becomes of the unanswered when their stream ends so."""
        told = _told(error)
        if told is not None:
            return told
        status = self._status_of(error)
        if status.code not in (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED):
            # Whatever a library calls it, the stream is what broke.
            status.code = code_pb2.UNAVAILABLE
        return error_of(status)

    def watch_broke(self, error: grpc.aio.AioRpcError) -> PrismError:
        """A watch that stood has ended so."""
        if self._called:
            why = f"the connection to {self._called} broke"
        else:
            why = f"the connection to {self.address} broke ({error.details()})"
        return _told(error) or WatchEnded(f"{why}: watch again")

    def _status_of(self, error: grpc.aio.AioRpcError) -> status_pb2.Status:
        message = f"{self._called or self.address}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            # The library's details tell addresses, of which whoever gave a name has no use.
            message = (
                f"{self._called} does not answer"
                if self._called
                else f"no Prism server answers at {self.address} ({error.details()})"
            )
        return status_pb2.Status(code=error.code().value[0], message=message)


def _told(error: grpc.aio.AioRpcError) -> PrismError | None:
    """The error in the status's details, which only a Prism server puts there."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return error_of(status_pb2.Status.FromString(value))
    return None


def _target_of(address: str) -> str:
    if address.startswith("unix:"):
        if address == "unix:":
            raise InvalidArgument("the address 'unix:' names no socket; give unix:PATH")
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgument(f"the address {address!r} is neither host:port nor unix:PATH")
    return address
