"""Certificates, secrets and policies in files: read again when a file changes, and at SIGHUP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.transports.tls import ServerTls
from prism.bootstrap.access import Access
from prism.bootstrap.configuration import ServerConfiguration
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.redaction import Redactor
from prism.kit import file_stamp
from prism.ports import PrismError

if TYPE_CHECKING:
    from prism.bootstrap.proxy.configuration import ProxyConfiguration
    from prism.domain.patterns.supervisor import Supervisor
    from prism.domain.patterns.values import PatternSpec

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
"""Time between two looks at the files. One that is being written is left for the next look."""

_RETRY_S = 30.0
"""Time after which changes are tried again that could not be applied."""


class TlsServer(Protocol):
    """Server whose certificates can be replaced."""

    async def reload_tls(self, tls: ServerTls) -> bool:
        """Serve new connections with the present content; return whether it has changed."""
        ...


Apply = Callable[[ServerConfiguration], Coroutine[object, None, None]]
"""Applies the secrets of a driver or of patterns that have changed; raises PrismError."""


class Reloader:
    """Applies changed files to a server that runs.

    A change that cannot be applied is logged once, and tried again after some time; what was
    loaded before stays in use.

    Args:
        configuration: configuration that the server has begun with.
        server: gets changed certificates.
        redis_server: gets them too; None: there is none.
        guard: gets a changed admin token.
        access: reads a changed policy and changed tokens; None: there is no policy.
        redactor: gets changed secrets first.
        apply_secrets: applies the other secrets.
    """

    def __init__(
        self,
        configuration: ServerConfiguration,
        *,
        server: TlsServer,
        guard: AdminGuard,
        redactor: Redactor,
        apply_secrets: Apply,
        redis_server: TlsServer | None = None,
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._redis_server = redis_server
        self._configuration = configuration
        self._server = server
        self._guard = guard
        self._redactor = redactor
        self._apply_secrets = apply_secrets
        self._token = configuration.settings.admin_token
        self._problems: list[str] = []
        self._requested = asyncio.Event()
        # Before the server reads them, so that no later change is missed.
        self._loaded = file_stamp(self._files)

    def request(self) -> None:
        """Read all files again, whether or not they have changed."""
        log.info("SIGHUP: certificates, secrets and the policy are read again")
        self._requested.set()

    async def run(self) -> None:
        """Look at the files at intervals, until cancelled."""
        loop = asyncio.get_running_loop()
        loaded = seen = self._loaded
        tried_at = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD_S):
                    await self._requested.wait()
            stamp = file_stamp(self._files)
            has_settled = stamp == seen and stamp != loaded
            again = bool(self._problems) and loop.time() - tried_at > _RETRY_S
            if self._requested.is_set() or has_settled or again:
                self._requested.clear()
                await self.reload()
                loaded, tried_at = stamp, loop.time()
            seen = stamp

    async def reload(self) -> None:
        """Read the files, and apply what has changed. Never raises."""
        problems: list[str] = []
        try:
            configuration = self._configuration.reread()
        except PrismError as error:
            problems.append(error.message)
        else:
            self._redactor.register(configuration.secrets)
            for apply in (
                self._apply_tls,
                self._apply_token,
                self._apply_credentials,
                self._apply_policy,
                self._apply_secrets,
            ):
                try:
                    await apply(configuration)
                except PrismError as error:
                    problems.append(error.message)
        for problem in problems:
            if problem not in self._problems:
                log.warning("%s; what was loaded before stays in use", problem)
        self._problems = problems

    @property
    def _files(self) -> tuple[Path, ...]:
        # The files of drivers too: a changed password may belong to a key that changes later.
        return (*self._configuration.secret_files, *self._configuration.named_files)

    async def _apply_tls(self, configuration: ServerConfiguration) -> None:
        tls = configuration.settings.server_options.tls
        if tls is None:
            return
        changed = await self._server.reload_tls(tls)
        if self._redis_server is not None:
            changed |= await self._redis_server.reload_tls(tls)
        if changed:
            log.info("the TLS files have changed: new connections are served with them")

    async def _apply_token(self, configuration: ServerConfiguration) -> None:
        token = configuration.settings.admin_token
        if token != self._token:
            self._token = token
            self._guard.expect(token)
            log.info("the admin token has changed")

    async def _apply_credentials(self, _configuration: ServerConfiguration) -> None:
        access = self._access
        if access is None:
            return
        failure: PrismError | None = None
        for what, reload in (
            ("the tokens", access.reload_tokens),
            ("the keys that sign JWTs", access.reload_keys),
            ("the revocation lists", access.reload_revocation_lists),
        ):
            try:
                if reload():
                    log.info("%s have changed: each operation is checked against them", what)
            except PrismError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _apply_policy(self, _configuration: ServerConfiguration) -> None:
        if self._access is not None and self._access.reload_policy():
            log.info("the policy has changed: each operation is checked against it")


def secrets_of_driver(configuration: ServerConfiguration, lifecycle: LifecycleMachine) -> Apply:
    """Return what applies changed secrets to the driver of a server."""
    applied = configuration.driver_settings

    async def apply(changed: ServerConfiguration) -> None:
        nonlocal applied
        if changed.driver_settings != applied:
            await lifecycle.reload(changed.driver_settings)
            applied = changed.driver_settings
            log.info("the secrets of the driver have changed: its next connections use them")

    return apply


def secrets_of_patterns(configuration: ProxyConfiguration, patterns: Supervisor) -> Apply:
    """Return what applies changed secrets to the patterns of a proxy."""
    applied = {spec.name: spec for spec in configuration.patterns}

    async def apply(changed: ServerConfiguration) -> None:
        failure: PrismError | None = None
        for spec in cast("ProxyConfiguration", changed).patterns:
            try:
                await _apply(patterns, applied[spec.name], spec)
            except PrismError as error:
                failure = error
            else:
                applied[spec.name] = spec
        if failure is not None:
            raise failure

    return apply


async def _apply(patterns: Supervisor, before: PatternSpec, now: PatternSpec) -> None:
    different = {
        name: text for name, text in now.settings.items() if before.settings.get(name) != text
    }
    found = patterns.find(now.name)
    # An operator may have replaced the driver, and other settings, meanwhile.
    if not different or found.spec.driver != now.driver:
        return
    await found.replace(replace(found.spec, settings={**found.spec.settings, **different}))
    log.info("the secrets of the pattern %s have changed: a new process uses them", now.name)
