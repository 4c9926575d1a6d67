from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Server
from tests.servers.completion import completions


@pytest.mark.parametrize(
    "line",
    [
        "prism patterns show --address {address} ",
        "prism patterns events --address {address} ",
        "prism kv get --address {address} --pattern ",
    ],
)
def test_tab_completes_the_patterns_of_a_proxy(proxy: Server, line: str, tmp_path: Path) -> None:
    assert completions(line.format(address=proxy.address), tmp_path) == ["a", "b"]
