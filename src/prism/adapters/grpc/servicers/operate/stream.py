"""One stream: operations in, outcomes out in the order of completion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.destinations import Destinations
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.adapters.grpc.servicers.operate.outcomes import Encoded, Outbox
from prism.adapters.grpc.servicers.operate.running import Operations
from prism.domain.admission import Admission
from prism.v1 import keyvalue_pb2 as pb

_FEWEST_A_TURN, _MOST_A_TURN = 16, 256
"""Operations begun before others have a turn of the loop: a message can hold a hundred
thousand. Those of a smaller one are begun in several turns too, so that its caller reads
the first outcomes, and asks for more, while the last are still worked on."""


class OperationStream:
    """Serves one stream of operations.

    It ends when the caller has half-closed it and has every outcome, or when
    admission is closed and all that was read is answered. The status then says that
    nothing of what it did not read has been begun.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        admission: Admission,
        context: CallContext,
        bounds: Bounds,
        observer: CallObserver | None,
        destinations: Destinations,
    ) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(bounds.max_message_bytes)
        self._operations = Operations(
            kinds,
            admission,
            context,
            bounds,
            observer,
            destinations,
            outbox=self._outbox,
            answered=self._wake,
        )
        self._change: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def outcomes(self, requests: AsyncIterator[pb.OperateRequest]) -> AsyncIterator[Encoded]:
        """Outcomes as they come, many to a message.

        Raises:
            NotServing: admission is closed.
            PrismError: of the messages read, the last one was malformed.
        """
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(lambda _: self._wake())
        self._admission.when_closed(self._wake)
        try:
            # grpcio's iterator of requests must have been asked once, or it complains.
            await asyncio.sleep(0)
            while True:
                # Whatever was answered in the turn that woke us goes out at once.
                while self._outbox:
                    message = self._outbox.take()
                    self._make_room()
                    yield message
                if not self._operations:
                    if reading.done():
                        reading.result()
                        return
                    self._admission.check_open()
                self._change = self._loop.create_future()
                await self._change
        finally:
            self._admission.forget(self._wake)
            reading.cancel()
            self._operations.close()

    async def _read(self, requests: AsyncIterator[pb.OperateRequest]) -> None:
        async for request in requests:
            operations = request.operations
            some = min(max(len(operations) // 4, _FEWEST_A_TURN), _MOST_A_TURN)
            for begin in range(0, len(operations), some):
                if begin:
                    await asyncio.sleep(0)
                self._operations.add(operations[begin : begin + some])
            if request.cancel_ids:
                self._operations.cancel(request.cancel_ids)
            while self._outbox.full:
                self._room = self._loop.create_future()
                await self._room

    def _wake(self) -> None:
        change = self._change
        if change is not None:
            self._change = None
            if not change.done():
                change.set_result(None)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done() and not self._outbox.full:
            self._room.set_result(None)
