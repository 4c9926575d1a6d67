"""`prism proxy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prism.cli.configured import Early

if TYPE_CHECKING:
    from prism.bootstrap.proxy.configuration import PatternChoice, ProxyConfiguration
else:
    # Annotations of commands are evaluated, and every command would wait for this.
    ProxyConfiguration = object

__all__ = ["PatternOption", "ProxyConfiguration", "choose", "proxy", "resolve"]

PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pattern",
        metavar="NAME=DRIVER",
        help="A pattern, and its driver; repeatable. Its options are --NAME-…",
    ),
]


def proxy(configuration: ProxyConfiguration, *, _pattern: PatternOption = None) -> None:
    """Serve several drivers over gRPC, each in a process of its own, until SIGINT or SIGTERM.

    A call says by its metadata `prism-pattern` which of them it is for. The options of each
    pattern are those of its driver, under the name of the pattern. Each option can also be
    set in the environment or in a config file: `prism config show-proxy` tells what holds.
    """
    from prism.bootstrap.proxy.main import run

    raise typer.Exit(run(configuration))


def choose(early: Early) -> PatternChoice:
    """The patterns that are given, and so the options that there are."""
    from prism.bootstrap.proxy import configuration

    return configuration.choose(early.every("--pattern"), early.file)


def resolve(choice: Any, given: Any) -> ProxyConfiguration:
    """What holds of what is given."""
    from prism.bootstrap.proxy import configuration

    return configuration.resolve(choice, given)
