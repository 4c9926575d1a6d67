"""From a configuration to a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prism.bootstrap import main
from prism.bootstrap.proxy.configuration import ProxyConfiguration
from prism.domain.redaction import Redactor

if TYPE_CHECKING:
    from prism.bootstrap.container import Container


def run(configuration: ProxyConfiguration) -> int:
    """Serve until told to end; the exit status."""
    return main.run(configuration, _proxy)


def _proxy(configuration: ProxyConfiguration, redactor: Redactor) -> Container:
    from prism.bootstrap.proxy.container import proxy_container

    return proxy_container(configuration, redactor)
