"""Connections of a listening socket are counted from the descriptors of the process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from prism.adapters.grpc.transports.connections import connections_at, count_connections


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_accepted_connections_are_counted(host: str) -> None:
    with socket.create_server((host, 0)) as listener:
        port = listener.getsockname()[1]
        assert count_connections(port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            with accepted:
                assert connections_at((f"{host}:{port}",), 9) == 1
        assert count_connections(port) == 0


def test_connections_of_a_unix_socket_are_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        accepted, _ = listener.accept()
        with accepted:
            assert connections_at((f"unix:{path}",), 9) == 1
