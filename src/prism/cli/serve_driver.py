"""`prism.serve_driver`: the main function of a package with a driver, like `prism serve`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Never, NoReturn, get_type_hints

import typer

from prism.bootstrap.configuration import Choice, Configuration, choose_for, resolve
from prism.cli.errors import errors_as_status
from prism.cli.process_start import prepare_server
from prism.cli.settings_command import (
    PreParsedArgs,
    SettingsCommand,
    SettingsSource,
    version_option,
)
from prism.ports import Driver, DriverSpec, InvalidArgument
from prism.version import VERSION

_EXPORTER = "stdout"


def serve_driver(
    factory: Callable[[], Driver[Never]],
    *,
    name: str,
    version: str,
    grpc_port: int = 0,
    metrics_port: int = 9091,
    config: str = "config.yaml",
    tracing: bool = False,
    trace_exporter: str = _EXPORTER,
    settings: type[object] | None = None,
) -> NoReturn:
    """Serve the driver as `prism serve` does, and exit with its status.

    The process has every option of `prism serve`, and those of the driver. The arguments here
    are defaults: the config file overrides them, the environment overrides the file, and flags
    override all.

    Args:
        factory: makes a driver without I/O; usually the driver's class.
        name: name of the driver, with which its options begin.
        version: version of the driver's package.
        grpc_port: port of gRPC; 0 picks a free one.
        metrics_port: port of health and metrics over HTTP; 0 picks a free one.
        config: config file, read if it exists; one named by flag or environment must exist.
        tracing: whether to trace requests and export the traces.
        trace_exporter: where traces go: stdout, otlp or jaeger.
        settings: dataclass of the driver's settings; None: the annotation of `initialize`.
    """
    prepare_server()
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
                # Only lists of drivers read them; a served driver has its profile.
                capabilities={},
            )
            _command(spec, defaults, config).main()
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _command(
    spec: DriverSpec, defaults: Mapping[str, str], config: str
) -> SettingsCommand[Choice, Configuration]:
    def choose(args: PreParsedArgs) -> Choice:
        return choose_for(spec, defaults, args.config_file, args.default_config_file(config))

    return SettingsCommand(
        spec.name,
        SettingsSource(choose, resolve, config),
        _serve,
        own=[version_option(lambda: f"{spec.name} {spec.version}, prism {VERSION}")],
    )


def _serve(configuration: Configuration) -> None:
    """Serve the driver over gRPC, until SIGINT or SIGTERM.

    Each option can also be set in the environment or in a config file.
    """
    from prism.bootstrap import main

    driver, served = configuration.settings.driver, configuration.spec.name
    if driver != served:
        raise typer.BadParameter(f"driver is {driver!r}, but this program serves only {served!r}")
    raise typer.Exit(main.run(configuration))


def _settings_of(factory: Callable[[], Driver[Never]]) -> type[object]:
    """Return the dataclass that the driver's `initialize` takes, by its annotation."""
    made = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    initialize = getattr(made, "initialize", None)
    if initialize is not None:
        hints = get_type_hints(initialize)
        for parameter in list(inspect.signature(initialize).parameters)[1:2]:
            found = hints.get(parameter)
            if isinstance(found, type) and dataclasses.is_dataclass(found):
                return found
    raise InvalidArgument(
        f"cannot find the settings of {factory!r} by the annotation of its initialize: "
        "pass settings=, the dataclass"
    )
