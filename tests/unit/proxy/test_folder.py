from __future__ import annotations

import stat
from pathlib import Path

import pytest

from prism.bootstrap.proxy.folder import PrivateFolder
from prism.ports import PreconditionFailed


@pytest.fixture(autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")


def test_it_is_made_by_opening_for_its_owner_alone_and_gone_when_it_wait_closed() -> None:
    folder = PrivateFolder()
    assert not folder.path.exists()
    folder.open()
    try:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        (folder.path / "control.sock").touch()
    finally:
        folder.close()
    assert not folder.path.exists()
    folder.close()


def test_what_a_dead_proxy_left_is_in_nobodys_way() -> None:
    dead, other = PrivateFolder(), PrivateFolder()
    dead.open()
    try:
        other.open()
        other.close()
        assert dead.path.exists()
    finally:
        dead.close()


def test_a_place_with_a_long_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 12)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(str(PrivateFolder().path)) <= 45


def test_a_folder_that_cannot_be_made_is_told() -> None:
    folder = PrivateFolder()
    folder.path = Path("/proc/prism-0")
    with pytest.raises(PreconditionFailed, match="the folder /proc/prism-0 for the sockets"):
        folder.open()
