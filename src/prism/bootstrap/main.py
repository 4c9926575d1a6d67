"""Runs a server or a proxy in this process: logging, event loop, container, garbage collection."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import uvloop

from prism.adapters.observability.logging import configure
from prism.adapters.observability.stderr_capture import StderrCapture
from prism.adapters.observability.tracing.environment import secrets_in
from prism.adapters.sockets import raise_descriptor_limit
from prism.bootstrap.configuration import (
    Configuration,
    ServerConfiguration,
    misspelt_variables,
    service_links,
)
from prism.bootstrap.files import warnings_about
from prism.bootstrap.memory import MemoryKeeper
from prism.domain.redaction import Redactor
from prism.ports import PrismError, State
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.bootstrap.application import Application
    from prism.bootstrap.proxy.configuration import ProxyConfiguration
    from prism.bootstrap.settings import ServerSettings
    from prism.domain.lifecycle import LifecycleMachine

    Parts: TypeAlias = tuple[LifecycleMachine, Application]

_ALLOCATIONS_PER_COLLECTION = 50_000

log = logging.getLogger(__name__)


def run(configuration: Configuration) -> int:
    """Serve one driver until a signal or a Stop; return the exit status."""

    def build(redactor: Redactor) -> Parts:
        from prism.bootstrap.container import Container

        container = Container(configuration=configuration, redactor=redactor)
        return container.lifecycle(), container.application()

    return _run(configuration, build)


def run_proxy(configuration: ProxyConfiguration) -> int:
    """Serve patterns until a signal or a Stop; return the exit status."""

    def build(redactor: Redactor) -> Parts:
        from prism.bootstrap.proxy.container import ProxyContainer

        container = ProxyContainer(configuration=configuration, redactor=redactor)
        return container.lifecycle(), container.application()

    return _run(configuration, build)


def _run(configuration: ServerConfiguration, build: Callable[[Redactor], Parts]) -> int:
    settings = configuration.settings
    raise_descriptor_limit()
    redactor = Redactor([*configuration.secrets, *secrets_in(os.environ)])
    capture = StderrCapture()
    stderr = capture.start()
    configure(
        settings.log_format or ("text" if stderr.isatty() else "json"),
        fields={
            "service": "prism",
            "version": VERSION,
            "driver": configuration.spec.name,
        },
        redact=redactor,
        debug=settings.debug,
        stream=stderr,
    )
    file = configuration.file
    for warning in (
        *misspelt_variables(os.environ, configuration.options),
        *service_links(os.environ, configuration.options),
        *warnings_about(file, (value.file for value in configuration.values if value.file)),
        *_warnings_about_access(settings),
    ):
        log.warning("%s", warning)
    log.info("starting", extra={"config_file": None if file is None else str(file.absolute())})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(build, redactor))
    except PrismError as error:
        log.error("%s", error.message, extra={"reason": error.reason})
        return 1
    except Exception:
        log.exception("an unexpected error ended the server; this is a defect")
        return 1
    finally:
        capture.stop()


def _warnings_about_access(settings: ServerSettings) -> Iterator[str]:
    options = settings.server_options
    if options.is_remote and options.tls is None:
        yield (
            f"gRPC on {options.host} has no TLS, as --insecure allows: others on the network can "
            "read keys, values and tokens"
        )


async def _serve(build: Callable[[Redactor], Parts], redactor: Redactor) -> int:
    lifecycle, application = build(redactor)
    lifecycle.observe(_tune_garbage_collection)
    keeper = asyncio.create_task(MemoryKeeper().run())
    try:
        return await application.run()
    finally:
        keeper.cancel()


def _tune_garbage_collection(state: State) -> None:
    if state is State.RUNNING:
        # Objects that exist by now are never freed. Looking through them at each collection would
        # stop the server for some 50 ms.
        gc.freeze()
        # A request leaves no cycles behind, so the objects of requests in flight, some dozens
        # each, should not trigger collections.
        gc.set_threshold(_ALLOCATIONS_PER_COLLECTION)
