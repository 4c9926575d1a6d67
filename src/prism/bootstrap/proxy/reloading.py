"""Changed secrets of patterns: each pattern is replaced by a process that has them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

from prism.bootstrap.configuration import ServerConfiguration
from prism.bootstrap.proxy.configuration import ProxyConfiguration
from prism.bootstrap.reloading import Apply
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternSpec
from prism.ports import PrismError

log = logging.getLogger(__name__)


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
    log.info("the secrets of the pattern %s have changed: another process has them", now.name)
