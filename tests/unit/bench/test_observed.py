"""That a server is watched while it is measured; what that costs is for `make bench` to say."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from benchmarks.observed import observer_of, seen, watched_by
from benchmarks.processes import serving
from benchmarks.rows import OBSERVED
from benchmarks.wire import verify
from tests.servers.process import PATIENCE_S, free_port

CORE = min(os.sched_getaffinity(0))


def test_spans_and_scrapes_of_the_server_that_is_measured_are_counted() -> None:
    port = str(free_port())
    with serving(observer_of(port), CORE) as observer:
        server = watched_by(observer.address, OBSERVED, port)
        eager = replace(
            server,
            arguments=(*server.arguments, "--trace-ratio", "1"),
            environment=(*server.environment, ("OTEL_BSP_SCHEDULE_DELAY", "20")),
        )
        with serving(eager, CORE) as started:
            verify(started.address)
            give_up_s = time.monotonic() + PATIENCE_S
            while not all(counted := seen(observer.address)):
                assert time.monotonic() < give_up_s, counted
                time.sleep(0.05)
