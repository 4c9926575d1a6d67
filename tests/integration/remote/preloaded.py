"""Web application that opens its client when it is loaded, before the server forks workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import prism

kv = prism.connect_sync(os.environ["PRELOADED_ADDRESS"])
# Its thread and its connection are in use before the fork.
kv.set("preloaded", b"1")


def application(
    environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer with the number of the process, and with that of the request among all workers."""
    count = kv.increment("preloaded")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {count.value}".encode()]
