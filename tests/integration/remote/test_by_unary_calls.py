"""The client passes the acceptance suite without operation streams too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.memstore import DRIVER
from prism.testing import Backend, OpenBackend, Wrap
from prism.testing.levels import over_grpc
from prism.testing.suite.basic import Basic
from prism.testing.suite.batch import Batches
from prism.testing.suite.errors import Errors


class TestByUnaryCalls(Basic, Batches, Errors):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        # h2corn closes a connection on which more than 200 calls are cancelled in 10 seconds,
        # and the tests of cancelling do that when each operation is a call.
        streaming = over_grpc(DRIVER, transport="grpcio")

        @asynccontextmanager
        async def open_backend(
            *, wrap: Wrap | None = None, start: bool = True
        ) -> AsyncIterator[Backend]:
            async with streaming(wrap=wrap, start=start) as backend:
                address = cast("Channel", cast("KeyValueClient", backend.kv)._channel).address
                channel = Channel(
                    address,
                    timeout=timedelta(seconds=30),
                    tls=None,
                    admin_token=None,
                    streams=False,
                )
                yield replace(backend, kv=KeyValueClient(channel))
                assert not channel.streams
                await channel.close()

        return open_backend
