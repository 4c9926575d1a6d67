"""Where the server is and how to reach it: options of every client command."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import typer

from prism.cli.arguments import parser, positive_duration
from prism.ports import Outcome, PrismError

if TYPE_CHECKING:
    from prism import TLS, Client

Params = ParamSpec("Params")
Result = TypeVar("Result")

TraceExporter = Literal["stdout", "otlp", "jaeger"]

DEFAULT_TIMEOUT = timedelta(seconds=5)


def address_of(given: str) -> str:
    """The address, when it has the form of one; else ValueError that says so."""
    if given.startswith("unix:"):
        if given == "unix:":
            raise ValueError("a path follows unix:, such as unix:/run/prism.sock")
        return given
    host, separator, port = given.rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError(f"{given!r} is neither host:port nor unix:PATH")
    return given


def _tls_file(help: str) -> Any:
    return typer.Option(metavar="FILE", help=help)


class ClientTracing(Protocol):
    """What gives each call of a client a span."""

    def around_client(self, client: Any, address: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """The options that `connected` gives a command, and what they are for.

    Attributes:
        pattern: an option of those commands alone that ask for keys.
        tracing: no option, but what comes of two; None: nothing is traced.
    """

    address: Annotated[
        str,
        typer.Option(
            envvar="PRISM_ADDRESS",
            metavar="HOST:PORT|unix:PATH",
            parser=parser(address_of),
            help="Where the server listens.",
        ),
    ] = "127.0.0.1:9090"
    timeout: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=positive_duration,
            show_default="5s",
            help="How long to wait for each answer.",
        ),
    ] = DEFAULT_TIMEOUT
    tls: Annotated[
        bool, typer.Option("--tls", help="Use TLS, and trust the authorities of this system.")
    ] = False
    tls_ca: Annotated[
        Path | None, _tls_file("Use TLS, and trust servers with a certificate of this authority.")
    ] = None
    tls_cert: Annotated[Path | None, _tls_file("Show the server this certificate.")] = None
    tls_key: Annotated[Path | None, _tls_file("The key of that certificate.")] = None

    enable_tracing: Annotated[
        bool,
        typer.Option(
            "--enable-tracing",
            envvar="PRISM_ENABLE_TRACING",
            help="Trace the command, and the calls it makes.",
        ),
    ] = False
    trace_exporter: Annotated[
        TraceExporter | None,
        typer.Option(
            envvar="PRISM_TRACE_EXPORTER",
            help="Where traces go; stdout is stderr here.",
            show_default="as OTEL_TRACES_EXPORTER says",
        ),
    ] = None

    pattern: Annotated[
        str | None,
        typer.Option(
            envvar="PRISM_PATTERN",
            metavar="NAME",
            help="Which pattern of a proxy is meant.",
            show_default="its default",
        ),
    ] = None

    tracing: ClientTracing | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise typer.BadParameter("--tls-cert and --tls-key go together")

    @property
    def security(self) -> TLS | None:
        """None: in plain text."""
        if not self.tls and self.tls_ca is None and self.tls_cert is None:
            return None
        from prism import TLS

        return TLS(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)

    def run(
        self, operation: Callable[[Client], Awaitable[Result]], *, writes: bool = False
    ) -> Result:
        """Connect, run the operation in an event loop of its own, and close.

        Args:
            writes: add to an error whose outcome is unknown that it is.
        """
        began = False

        async def connect_and_run() -> Result:
            from prism import connect

            nonlocal began
            async with connect(
                self.address, timeout=self.timeout, tls=self.security, pattern=self.pattern
            ) as client:
                began = True
                if self.tracing is not None:
                    client = self.tracing.around_client(client, self.address)
                return await operation(client)

        try:
            return asyncio.run(connect_and_run())
        except (PrismError, KeyboardInterrupt) as error:
            outcome = error.outcome if isinstance(error, PrismError) else Outcome.UNKNOWN
            if writes and began and outcome is Outcome.UNKNOWN:
                error.add_note("it may or may not have been applied")
            raise


_CONTEXT = inspect.Parameter(
    "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)


def connected(command: Callable[Concatenate[Connection, Params], None]) -> Callable[..., None]:
    """Give a command the options of `Connection`, as its first argument.

    An option that the command declares itself is not added, and keeps its default
    in the connection.
    """
    return _with_options(command, {"pattern", "tracing"})


def connected_to_keys(
    command: Callable[Concatenate[Connection, Params], None],
) -> Callable[..., None]:
    """As `connected`, for one that asks for keys, which those of a pattern may be."""
    return _with_options(command, {"tracing"})


def _with_options(
    command: Callable[Concatenate[Connection, Params], None], left_out: set[str]
) -> Callable[..., None]:
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    taken = {parameter.name for parameter in own} | left_out
    shared = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(Connection, eval_str=True).parameters.values()
        if parameter.name not in taken
    ]

    run: Callable[..., None] = command

    @functools.wraps(command)
    def with_connection(ctx: typer.Context, **given: Any) -> None:
        options = {parameter.name: given.pop(parameter.name) for parameter in shared}
        connection = Connection(**options)
        if not connection.enable_tracing:
            run(connection, **given)
            return
        # OpenTelemetry is imported by who asks for traces.
        from prism.cli.tracing import traced

        with traced(ctx.command_path, connection.trace_exporter) as tracing:
            run(replace(connection, tracing=tracing), **given)

    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    # Typer reads a command's options off its signature.
    with_connection.__signature__ = inspect.Signature([_CONTEXT, *keyword_only, *shared])  # type: ignore[attr-defined]
    return with_connection
