from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.completion import completions
from tests.servers.process import free_port


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prism he", ["health"]),
        ("prism kv pe", ["persist"]),
        ("prism serve --driver me", ["memstore"]),
        ("prism serve --transport ", ["h2corn", "grpcio"]),
        ("prism config show --log-format t", ["text"]),
        ("prism serve --driver redis --redis-url", ["--redis-url", "--redis-url-file"]),
        ("prism serve --proxy-", []),
        ("prism proxy --pattern cache=mem", ["cache=memstore"]),
        ("prism proxy --pattern cache=memstore --cache-max-k", ["--cache-max-keys"]),
        ("prism patterns replace a --driver me", ["memstore"]),
        ("prism kv get --trace-exporter j", ["jaeger"]),
        ("prism serve --driver nope --grpc-p", []),
    ],
)
def test_tab_completes_commands_options_and_choices(
    line: str, expected: list[str], tmp_path: Path
) -> None:
    assert completions(line, tmp_path) == expected


def test_unreachable_proxy_gives_no_completions(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert completions(f"prism patterns show --address {address} ", tmp_path) == []
