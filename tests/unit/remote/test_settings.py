"""Settings of the driver `remote`."""

from __future__ import annotations

from pathlib import Path

import pytest

from prism.adapters.remote import RemoteSettings
from prism.ports import InvalidArgument


@pytest.mark.parametrize("address", ["host:1", "[::1]:1", "unix:/run/prism.sock", "a:1, b:2"])
def test_addresses_are_accepted(address: str) -> None:
    assert RemoteSettings(address=address).address == address


@pytest.mark.parametrize("address", ["", "host", "http://host:1", "[::1:1", "a b:1", "a:1,,b:2"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        RemoteSettings(address=address)


def test_tls_files_need_tls() -> None:
    with pytest.raises(InvalidArgument, match="set tls to true"):
        RemoteSettings(tls_ca=Path("ca.pem"))
