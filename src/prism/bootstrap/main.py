"""From a configuration to a process that serves it."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib.metadata import version

import uvloop

from prism.adapters.observability.logging import configure
from prism.bootstrap.configuration import Configuration, near_misses

log = logging.getLogger(__name__)


def run(configuration: Configuration) -> int:
    """Serve until told to end; the exit status."""
    settings = configuration.settings
    configure(
        settings.log_format,
        fields={
            "service": "prism",
            "version": version("prism"),
            "driver": configuration.spec.name,
        },
        secrets=configuration.secrets,
        debug=settings.debug,
    )
    for warning in near_misses(os.environ, configuration.options):
        log.warning("%s", warning)
    file = configuration.file
    log.info("starting", extra={"config_file": None if file is None else str(file.absolute())})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(configuration))
    except Exception:
        log.exception("an unexpected error ended the server; this is a defect")
        return 1


async def _run(configuration: Configuration) -> int:
    from prism.bootstrap.container import Container

    return await Container(configuration=configuration).application().run()
