"""From a configuration to a process that serves it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import uvloop

from prism.adapters.observability.logging import configure
from prism.adapters.observability.tracing.environment import secrets_in
from prism.bootstrap.configuration import Configuration, ServerConfiguration, near_misses
from prism.domain.redaction import Redactor
from prism.ports import State

if TYPE_CHECKING:
    from prism.bootstrap.container import Container

Compose: TypeAlias = "Callable[[Any, Redactor], Container]"

_ALLOCATIONS_A_COLLECTION = 50_000

log = logging.getLogger(__name__)


def _server(configuration: Configuration, redactor: Redactor) -> Container:
    from prism.bootstrap.container import Container

    return Container(configuration=configuration, redactor=redactor)


def run(configuration: ServerConfiguration, compose: Compose = _server) -> int:
    """Serve until told to end; the exit status.

    Args:
        compose: makes the container of what is to be served.
    """
    settings = configuration.settings
    redactor = Redactor([*configuration.secrets, *secrets_in(os.environ)])
    configure(
        settings.log_format,
        fields={
            "service": "prism",
            "version": version("prism"),
            "driver": configuration.spec.name,
        },
        redact=redactor,
        debug=settings.debug,
    )
    for warning in near_misses(os.environ, configuration.options):
        log.warning("%s", warning)
    file = configuration.file
    log.info("starting", extra={"config_file": None if file is None else str(file.absolute())})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(compose, configuration, redactor))
    except Exception:
        log.exception("an unexpected error ended the server; this is a defect")
        return 1


async def _run(compose: Compose, configuration: ServerConfiguration, redactor: Redactor) -> int:
    container = compose(configuration, redactor)
    container.lifecycle().observe(_settle)
    return await container.application().run()


def _settle(state: State) -> None:
    if state is State.RUNNING:
        # What is there by now stays. Looking through it for garbage, again and again,
        # would stop the server for some 50 ms each time.
        gc.freeze()
        # A request leaves no cycles behind. So it is not the requests in flight, each some
        # dozen objects, that shall bring the collector, but what has piled up.
        gc.set_threshold(_ALLOCATIONS_A_COLLECTION)
