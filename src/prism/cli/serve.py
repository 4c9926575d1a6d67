"""`prism serve` and `prism proxy`. `python -m prism.bootstrap` is `prism serve`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import typer
from typer.core import TyperOption

from prism.cli.parameters import example, installed_drivers
from prism.cli.settings_command import (
    DEFAULT_FILE,
    PreParsedArgs,
    SettingsCommand,
    SettingsSource,
    version_option,
)
from prism.version import VERSION

if TYPE_CHECKING:
    from typer._click import Context

    from prism.bootstrap.configuration import Choice, Configuration, Given
    from prism.bootstrap.proxy.configuration import PatternChoice, ProxyConfiguration


def _choose(args: PreParsedArgs) -> Choice:
    from prism.bootstrap import configuration

    return configuration.choose(
        args.value("--driver", "PRISM_DRIVER"),
        args.config_file,
        args.default_config_file(DEFAULT_FILE),
    )


def _resolve(choice: Choice, given: Mapping[str, Given]) -> Configuration:
    from prism.bootstrap import configuration

    return configuration.resolve(choice, given)


def _choose_patterns(args: PreParsedArgs) -> PatternChoice:
    from prism.bootstrap.proxy import configuration

    return configuration.choose(args.values("--pattern"), args.config_file)


def _resolve_patterns(choice: PatternChoice, given: Mapping[str, Given]) -> ProxyConfiguration:
    from prism.bootstrap.proxy import configuration

    return configuration.resolve(choice, given)


SERVER = SettingsSource(_choose, _resolve)
PROXY = SettingsSource(_choose_patterns, _resolve_patterns)


def _complete_pattern(
    _ctx: Context, _args: list[str], incomplete: str
) -> list[tuple[str, str] | str]:
    name, separator, _ = incomplete.partition("=")
    return [f"{name}={each}" for each in installed_drivers()] if separator else []


def pattern_option() -> TyperOption:
    """Return `--pattern NAME=DRIVER`, which `PreParsedArgs` reads."""
    return TyperOption(
        param_decls=["--pattern"],
        metavar="NAME=DRIVER",
        multiple=True,
        expose_value=False,
        autocompletion=_complete_pattern,
        help="Pattern and its driver; repeatable. The pattern's options are --NAME-…",
    )


def watch_parent_proxy(args: PreParsedArgs) -> None:
    """End this process when its proxy ends, from now on: also while the driver is being loaded."""
    descriptor = args.value("--proxy-fd", "PRISM_PROXY_FD")
    if not descriptor or not args.value("--proxy-address", "PRISM_PROXY_ADDRESS"):
        return
    from prism.bootstrap.managed.lifeline import lifeline_at

    # The settings report a wrong descriptor.
    with suppress(ValueError, OverflowError, OSError):
        lifeline_at(int(descriptor)).watch()


def _version() -> str:
    return f"prism {VERSION}"


def serve(configuration: Configuration) -> None:
    """Serve a driver over gRPC, until SIGINT or SIGTERM.

    Each option can also be set in the environment or in a config file. `prism config show`
    shows the effective settings and their sources.
    """
    from prism.bootstrap import main

    raise typer.Exit(main.run(configuration))


def proxy(configuration: ProxyConfiguration) -> None:
    """Serve several drivers, a process for each.

    Serves gRPC until SIGINT or SIGTERM. The metadata `prism-pattern` of a call names the pattern
    that serves it. The options of each pattern are those of its driver, under the name of the
    pattern. Each option can also be set in the environment or in a config file.
    `prism config show-proxy` shows the effective settings and their sources.
    """
    from prism.bootstrap import main

    raise typer.Exit(main.run_proxy(configuration))


_SERVE = SettingsCommand(
    "serve",
    SERVER,
    serve,
    own=[version_option(_version)],
    prepare=watch_parent_proxy,
    epilog=example("serve --driver redis --redis-url redis://localhost:6379"),
)
_PROXY = SettingsCommand(
    "proxy",
    PROXY,
    proxy,
    own=[pattern_option()],
    epilog=example("proxy --pattern cache=memstore --pattern sessions=redis"),
)

COMMANDS = {"serve": _SERVE, "proxy": _PROXY}
