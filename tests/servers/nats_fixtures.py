"""Fixtures of a NATS server: a new one, or the one that `PRISM_TEST_NATS_URL` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from prism.testing import BackendServer
from tests.servers.nats import NatsServer

ENVIRONMENT = "PRISM_TEST_NATS_URL"


class NatsBackend(NamedTuple):
    """Server that the acceptance suite runs against.

    Attributes:
        server: the server, if tests may stop it.
    """

    url: str
    server: BackendServer | None = None


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """Server that tests share: they do not stop it or change its settings."""
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def nats_backend(request: pytest.FixtureRequest) -> NatsBackend:
    if url := os.environ.get(ENVIRONMENT):
        return NatsBackend(url)
    server: NatsServer = request.getfixturevalue("nats_server")
    return NatsBackend(server.url, server)
