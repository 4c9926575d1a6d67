"""Servers that are too old: each is started, and the driver has to say so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

from prism.adapters.nats import DRIVER as NATS_DRIVER
from prism.adapters.redis import DRIVER as REDIS_DRIVER
from prism.ports import PrismError
from prism.testing.levels import in_process
from tests.matrix.cells import is_chosen
from tests.matrix.downloads import Unavailable
from tests.matrix.servers import REFUSED, ServerProgram
from tests.servers import nats, redis


def check(only: str) -> Iterator[tuple[str, str]]:
    """Return each server's name and version, and what the driver says about it."""
    for server in REFUSED:
        if is_chosen(server.name, only):
            try:
                yield f"{server.product} {server.version()}", _error_about(server)
            except Unavailable as error:
                yield f"{server.product} {server.series}", f"cannot be had here: {error}"


def is_refusal(sentence: str) -> bool:
    """Return whether it names the version that is needed."""
    return "Prism needs " in sentence or sentence.startswith("cannot be had here")


def _error_about(server: ServerProgram) -> str:
    variable = redis.ENVIRONMENT if server.driver == "redis" else nats.ENVIRONMENT
    os.environ[variable] = str(server.fetch())
    redis.redis_server_program.cache_clear()
    nats.nats_server.cache_clear()
    process = redis.RedisServer() if server.driver == "redis" else nats.NatsServer()
    driver = REDIS_DRIVER if server.driver == "redis" else NATS_DRIVER
    try:
        with process as running:
            return asyncio.run(_open(driver, running.url)).replace(str(running.port), "PORT")
    finally:
        del os.environ[variable]


async def _open(driver: object, url: str) -> str:
    try:
        async with in_process(driver, {"url": url})():  # type: ignore[arg-type]
            return "is served"
    except PrismError as error:
        return str(error)
