from __future__ import annotations

import stat
from pathlib import Path

import pytest

from prism.bootstrap.proxy.server import SocketDir
from prism.ports import PreconditionFailed


@pytest.fixture(autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")


def test_directory_is_private_and_removed_by_close() -> None:
    socket_dir = SocketDir()
    assert not socket_dir.path.exists()
    socket_dir.open()
    try:
        assert stat.S_IMODE(socket_dir.path.stat().st_mode) == 0o700
        (socket_dir.path / "control.sock").touch()
    finally:
        socket_dir.close()
    assert not socket_dir.path.exists()
    socket_dir.close()


def test_abandoned_directory_does_not_matter() -> None:
    dead, other = SocketDir(), SocketDir()
    dead.open()
    try:
        other.open()
        other.close()
        assert dead.path.exists()
    finally:
        dead.close()


def test_parent_with_a_long_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 12)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(str(SocketDir().path)) <= 45


def test_directory_that_cannot_be_made_is_an_error() -> None:
    socket_dir = SocketDir()
    socket_dir.path = Path("/proc/prism-0")
    with pytest.raises(PreconditionFailed, match="the directory /proc/prism-0 for the sockets"):
        socket_dir.open()
