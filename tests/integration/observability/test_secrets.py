"""Secrets are planted wherever they can be, and looked for wherever they may not be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.remote import connect
from prism.ports import PrismError
from tests.servers.redis import RedisServer

PASSWORD, TOKEN, VALUE, KEY = "pa55-w0rd-planted", "t0ken-planted", "value-planted", "key-planted"


async def test_no_secret_leaves_a_server_that_succeeds_and_fails(
    start_server: Any, get: Callable[..., Any], tmp_path: Path
) -> None:
    with RedisServer({"requirepass": PASSWORD}) as redis:
        file = tmp_path / "token"
        file.write_text(TOKEN)
        flags = (
            *("--driver", "redis", "--redis-url", f"redis://:{PASSWORD}@127.0.0.1:{redis.port}"),
            *("--admin-token-file", str(file), "--debug", "--redis-timeout", "200ms"),
        )
        server = start_server(*flags).serving()
        told = []
        async with connect(server.address) as kv:
            await kv.set(KEY, VALUE.encode())
            with pytest.raises(PrismError) as refused:
                await kv.increment(KEY)
            told.append(refused.value.message)
            await redis.pause()
            with pytest.raises(PrismError) as unanswered:
                await kv.get(KEY)
            told.append(unanswered.value.message)
            await redis.resume()
        metrics = get(server.metrics_address, "/metrics").text
        server.stop()
        shown = await asyncio.to_thread(_config_show, flags, tmp_path)
        assert "***" in shown
        everything = "\n".join([server.log, metrics, *told, shown])
        assert "/prism.v1.KeyValueService/Get" in server.log
        for secret in (PASSWORD, TOKEN, VALUE, KEY):
            assert secret not in everything, secret


def _config_show(flags: tuple[str, ...], folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("prism")), "config", "show", *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return done.stdout + done.stderr
