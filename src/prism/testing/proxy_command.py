"""The command line and the environment of a proxy with one pattern."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prism.bootstrap import discovery
from prism.bootstrap.options import Option, options_of, server_options
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.settings import parse_settings, to_text
from prism.ports import DriverSpec, InvalidArgument

PATTERN = "tested"


class ProxyCommand(NamedTuple):
    """What is run, after `prism`, and the whole environment for it."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


def installed(driver: DriverSpec | str) -> DriverSpec:
    """The driver, as another process finds it.

    Raises:
        InvalidArgument: it does not, or finds another of the same name.
        BrokenDriver: it cannot be loaded.
    """
    name = driver if isinstance(driver, str) else driver.name
    why = (
        "behind a proxy a driver is in a process of its own, which finds it by its entry "
        f"point: install the package, with an entry point {name!r} in {discovery.GROUP!r}"
    )
    try:
        found = discovery.load(name)
    except discovery.UnknownDriver as error:
        raise InvalidArgument(f"{error.message}; {why}") from None
    if driver not in (name, found):
        raise InvalidArgument(f"the driver that is installed as {name!r} is another; {why}")
    return found


def proxy_command(
    spec: DriverSpec,
    settings: Mapping[str, str],
    server: ProxySettings,
    environment: Mapping[str, str],
) -> ProxyCommand:
    """Have the proxy know these settings, and none of those for other servers.

    Args:
        environment: what it gets beside.

    Raises:
        InvalidArgument: a setting is wrong.
    """
    parse_settings(spec.settings, settings)
    given = list(_given(spec, settings, server))
    own = {name: text for name, text in environment.items() if not name.startswith("PRISM_")}
    # Everybody on the machine can read a command line, and no variable can be empty.
    variables = {option.variable: text for option, text in given if text}
    flags = [part for option, text in given if not text for part in (option.flag, text)]
    pattern = f"{PATTERN}={spec.name}"
    return ProxyCommand(
        ["proxy", "--pattern", pattern, "--config", os.devnull, *flags], own | variables
    )


def _given(
    spec: DriverSpec, settings: Mapping[str, str], server: ProxySettings
) -> Iterator[tuple[Option, str]]:
    for option in server_options(type(server)):
        value = getattr(server, option.field.name)
        if value is not None and not option.holds_path:
            yield option, to_text(value)
    for option in options_of(spec.settings, spec.name, PATTERN):
        if option.field.name in settings and not option.holds_path:
            yield option, settings[option.field.name]
