"""NATS as fixtures: a server of their own, or the one that `PRISM_TEST_NATS_URL` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from prism.testing import BackendServer
from tests.servers.nats import NatsServer

ENVIRONMENT = "PRISM_TEST_NATS_URL"


class NatsBackend(NamedTuple):
    """What the suite is pointed at.

    Attributes:
        server: where there is one that a test may take away.
    """

    url: str
    server: BackendServer | None = None


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A server that tests share: they leave it up, and its settings as they are."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def nats_backend(request: pytest.FixtureRequest) -> NatsBackend:
    if given := os.environ.get(ENVIRONMENT):
        return NatsBackend(given)
    server: NatsServer = request.getfixturevalue("nats_server")
    return NatsBackend(server.url, server)
