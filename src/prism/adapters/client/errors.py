"""Failed calls, translated into errors of the ports."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2

from prism.adapters.client.grpc_call import CallFailed
from prism.adapters.wire.status import error_of
from prism.ports import Outcome, PrismError, WatchEnded


class ErrorTranslator:
    """Translates the failures of calls to one server.

    A status without Prism's details was made on the way and does not say which server was
    called, so the message is completed with its name.

    Args:
        address: `host:port` or `unix:PATH`.
        name: name of the server in error messages; empty: its address.

    Attributes:
        server: what error messages call the server.
    """

    def __init__(self, address: str, name: str = "") -> None:
        self.address = address
        self.server = name or address
        self._name = name

    def of_call(self, failed: CallFailed) -> PrismError:
        """Return the error of a call that failed."""
        return _sent_error(failed) or self._made_here(failed, self._status_of(failed))

    def of_operations(self, failed: CallFailed) -> PrismError:
        """Return the error of the pending operations of a stream that failed."""
        sent = _sent_error(failed)
        if sent is not None:
            return sent
        status = self._status_of(failed)
        if status.code not in (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED):
            # Whichever code was chosen on the way, the connection broke.
            status.code = code_pb2.UNAVAILABLE
        return self._made_here(failed, status)

    def of_watch(self, failed: CallFailed) -> PrismError:
        """Return the error of a watch that had started and failed."""
        if self._name:
            reason = f"the connection to {self._name} broke"
        else:
            reason = f"the connection to {self.address} broke ({failed.message})"
        return _sent_error(failed) or WatchEnded(
            f"{reason}: start a new watch and re-read the keys"
        )

    @staticmethod
    def _made_here(failed: CallFailed, status: status_pb2.Status) -> PrismError:
        error = error_of(status)
        if failed.unseen:
            error.outcome = Outcome.NOT_APPLIED
        return error

    def _status_of(self, failed: CallFailed) -> status_pb2.Status:
        message = f"{self.server}: {failed.message}"
        if failed.refused:
            message = f"{self.server} has no room for another call on this connection: try again"
        elif failed.code == code_pb2.UNAVAILABLE:
            # The reason contains addresses, which the name of a pattern hides.
            message = (
                f"{self._name} does not answer"
                if self._name
                else f"no Prism server answers at {self.address} ({failed.message})"
            )
        return status_pb2.Status(code=failed.code, message=message)


def _sent_error(failed: CallFailed) -> PrismError | None:
    """Return the error that a Prism server sent; None: it comes from elsewhere."""
    if failed.details is None:
        return None
    try:
        return error_of(status_pb2.Status.FromString(failed.details))
    except DecodeError:
        return None
