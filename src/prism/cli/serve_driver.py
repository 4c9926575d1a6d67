"""The main of somebody else's package: the command line of `prism serve`, for one driver."""

# Annotations are not postponed: those of `serve` refer to what is around it.

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from prism.bootstrap.configuration import Choice, Configuration, choose_for
from prism.cli import configured
from prism.cli.errors import errors_as_status
from prism.ports import Driver, DriverSpec, InvalidArgument

_EXPORTER = "stdout"


def serve_driver(
    factory: Callable[[], Driver[Any]],
    *,
    name: str,
    version: str,
    grpc_port: int = 0,
    metrics_port: int = 9091,
    config: str = "config.yaml",
    tracing: bool = False,
    trace_exporter: str = _EXPORTER,
    settings: type[Any] | None = None,
) -> NoReturn:
    """Serve the driver as `prism serve` would, and exit with its status.

    The process has every option of `prism serve`, and those of the driver. What is
    passed here are defaults: the config file overrides them, the environment that,
    and flags override all.

    Args:
        factory: makes a driver and does no I/O; the driver's class, as a rule.
        name: of the driver: its options begin with it.
        version: of the driver's package.
        grpc_port: 0 picks a free one.
        metrics_port: of health and readiness over HTTP; 0 picks a free one.
        config: the config file, read when it exists; one that is named by flag or
            environment must exist.
        tracing: trace requests, and export the traces.
        trace_exporter: where traces go: stdout, otlp or jaeger.
        settings: the driver's dataclass; found by the annotation of `initialize`
            when left out.
    """
    defaults = {"grpc_port": str(grpc_port), "metrics_port": str(metrics_port)}
    if tracing:
        defaults["enable_tracing"] = "true"
    if trace_exporter != _EXPORTER:
        defaults["trace_exporter"] = trace_exporter
    try:
        with errors_as_status():
            spec = DriverSpec(
                name=name,
                version=version,
                summary="",
                settings=settings or _settings_of(factory),
                factory=factory,
                # Only lists of drivers read it; what is served, the profile tells.
                capabilities={},
            )
            _run(spec, defaults, config)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _run(spec: DriverSpec, defaults: Mapping[str, str], config: str) -> None:
    def choose(early: configured.Early) -> Choice:
        return choose_for(spec, defaults, early.file, early.file_by_default(Path(config)))

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    configured.add(
        app, spec.name, _serving(f"{spec.name} {spec.version}"), choose=choose, default_file=config
    )
    app()


def _serving(title: str) -> Callable[..., None]:
    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{title}, prism {version_of('prism')}")
            raise typer.Exit

    def serve(
        configuration: Configuration,
        *,
        _version: Annotated[
            bool,
            typer.Option(
                "--version", callback=show_version, is_eager=True, help="Show versions and exit."
            ),
        ] = False,
    ) -> None:
        """Serve the driver over gRPC, until SIGINT or SIGTERM.

        Each option can also be set in the environment or in a config file.
        """
        from prism.bootstrap.main import run

        asked, served = configuration.settings.driver, configuration.spec.name
        if asked != served:
            raise typer.BadParameter(
                f"driver is {asked!r}; this program serves {served!r} and no other"
            )
        raise typer.Exit(run(configuration))

    return serve


def _settings_of(factory: Callable[[], Driver[Any]]) -> type[Any]:
    """What the driver's `initialize` takes, by its annotation."""
    made = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    initialize = getattr(made, "initialize", None)
    if initialize is not None:
        hints = get_type_hints(initialize)
        for parameter in list(inspect.signature(initialize).parameters)[1:2]:
            found = hints.get(parameter)
            if isinstance(found, type) and dataclasses.is_dataclass(found):
                return found
    raise InvalidArgument(
        f"the settings of {factory!r} cannot be told by the annotation of its initialize: "
        "pass settings=, the dataclass"
    )
