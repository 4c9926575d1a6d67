"""Let `promtool check metrics` look at what every driver tells: `python -m tests.promtool`.

https://prometheus.io/docs/prometheus/latest/command-line/promtool/
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

from prism.bootstrap import discovery
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.ports import PrismError

_DRIVERS = ("memstore", "redis", "nats")


async def _metrics_of(driver: str) -> bytes:
    """After a request that succeeded, where there is a backend, and one that failed."""
    container = Container(
        configuration=Configuration(ServeSettings(driver=driver), discovery.load(driver), {})
    )
    gateway, lifecycle = container.gateway(), container.lifecycle()
    if driver == "memstore":
        await lifecycle.initialize({})
        await lifecycle.start()
    for expected in (None, None):
        with suppress(PrismError):
            await gateway.compare_and_set("key", b"", expected=expected)
    _, text = container.metrics().render("")
    await lifecycle.stop()
    return text


def main() -> int:
    """The exit status: 1 when there is anything to say."""
    complaints = 0
    for driver in _DRIVERS:
        metrics = asyncio.run(_metrics_of(driver))
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False
        )
        said = (checked.stdout + checked.stderr).decode().strip()
        if checked.returncode or said:
            complaints += 1
            sys.stderr.write(f"promtool about the metrics of {driver}:\n{said}\n")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
