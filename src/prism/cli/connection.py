"""Commands that call a running server: their options, and the connection these describe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import typer
from typer.core import TyperArgument, TyperOption

from prism.bootstrap.files import read_secret
from prism.cli.errors import note_outcome
from prism.cli.parameters import PanelCommand, complete_from, parser, positive_duration
from prism.kit import is_host
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Outcome,
    PrismError,
    Unauthenticated,
)
from prism.ports.operations import OPERATIONS

if TYPE_CHECKING:
    from typer._click import Context, Parameter

    from prism import TLS, AdminClient, Client
    from prism.adapters.observability.tracing.tracing import Tracing

Connected = TypeVar("Connected")
Result = TypeVar("Result")

DEFAULT_ADDRESS = "127.0.0.1:9090"
DEFAULT_TIMEOUT = timedelta(seconds=5)

# While somebody waits for Tab.
_COMPLETION_TIMEOUT = timedelta(seconds=1)

_TRACE_EXPORTERS = ("stdout", "otlp", "jaeger")


def parse_address(given: str) -> str:
    """Return the address; raises ValueError if it is neither `HOST:PORT` nor `unix:PATH`."""
    if given.startswith("unix:"):
        path = given.removeprefix("unix:")
        if not path:
            raise ValueError("a path follows unix:, such as unix:/run/prism.sock")
        return given
    scheme, separator, rest = given.partition("://")
    if separator:
        encrypted = ", with --tls or --tls-ca" if scheme == "https" else ""
        raise ValueError(
            f"{given!r} is a URL: give host and port alone, such as {_without_path(rest)}"
            f"{encrypted}"
        )
    host, separator, port = given.rpartition(":")
    if not separator:
        raise ValueError(
            f"{given!r} has no port: give host:port, such as {given or 'localhost'}:9090"
        )
    if not (is_host(host) and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError(
            f"{given!r} is neither host:port, with a port from 1 to 65535, nor unix:PATH"
        )
    return given


def parse_addresses(given: str) -> str:
    """Return one address or several with commas; raises ValueError, as `parse_address` does."""
    return ",".join(parse_address(each.strip()) for each in given.split(","))


def _without_path(location: str) -> str:
    """Return host and port of a URL without its scheme, with a port if it has none."""
    host = location.partition("/")[0] or "localhost"
    return host if ":" in host else f"{host}:9090"


def _parse_exporter(given: str) -> str:
    if given not in _TRACE_EXPORTERS:
        raise ValueError(f"{given!r} is not one of {', '.join(_TRACE_EXPORTERS)}")
    return given


class ClientTracing(Protocol):
    """Gives each call of a client a span."""

    def around_client(self, client: Client, address: str) -> Client: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Where a server is and how to reach it: the options of a `ClientCommand`, parsed.

    Attributes:
        timeout: time to wait for each reply.
        pattern: pattern of a proxy that serves the calls; None: the proxy's default.
        token_file: file with the token by which a server with a policy knows the caller.
        admin_token_file: file with the token for lifecycle and pattern commands.
        tracing: tracing of this command; None: off.
    """

    address: str = DEFAULT_ADDRESS
    timeout: timedelta = DEFAULT_TIMEOUT
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_key_password_file: Path | None = None
    enable_tracing: bool = False
    trace_exporter: str | None = None
    pattern: str | None = None
    token_file: Path | None = None
    admin_token_file: Path | None = None
    tracing: ClientTracing | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise typer.BadParameter("--tls-cert and --tls-key go together")
        if self.tls_key_password_file is not None and self.tls_key is None:
            raise typer.BadParameter("--tls-key-password-file needs --tls-key")
        if self.token_file is not None and self.admin_token_file is not None:
            raise typer.BadParameter("--token-file and --admin-token-file exclude each other")

    def call(self, operation: str, call: Callable[[Client], Awaitable[Result]]) -> Result:
        """Connect, make one call, and close.

        Args:
            operation: name in `OPERATIONS`. If it writes, its error says whether it was applied.
        """
        sent = False

        async def noted(client: Client) -> Result:
            nonlocal sent
            sent = True
            return await call(client)

        try:
            return self.run(noted)
        except (PrismError, KeyboardInterrupt) as error:
            if OPERATIONS[operation].writes:
                unknown = not isinstance(error, PrismError) or error.outcome is Outcome.UNKNOWN
                note_outcome(error, Outcome.UNKNOWN if sent and unknown else Outcome.NOT_APPLIED)
            raise

    def run(self, task: Callable[[Client], Awaitable[Result]]) -> Result:
        """Connect, run a task that calls keys, and close."""
        from prism import connect

        tracing = self.tracing
        connected = False

        async def traced_task(client: Client) -> Result:
            nonlocal connected
            connected = True
            if tracing is not None:
                client = tracing.around_client(client, self.address)
            return await task(client)

        client = connect(
            self.address,
            timeout=self.timeout,
            tls=self._tls,
            token=None if self.token_file is None else read_secret(self.token_file),
            pattern=self.pattern,
        )
        try:
            return _run(client, traced_task)
        except BackendUnavailable as error:
            raise (error if connected else self._explained(error)) from None

    def administer(self, task: Callable[[AdminClient], Awaitable[Result]]) -> Result:
        """Connect, run a task that administers the server, and close."""
        from prism import connect_admin

        file = self.admin_token_file or self.token_file
        token = None if file is None else read_secret(file)
        client = connect_admin(self.address, timeout=self.timeout, tls=self._tls, token=token)
        try:
            return _run(client, task)
        except BackendUnavailable as error:
            raise self._explained(error) from None
        except Unauthenticated as error:
            if file is not None:
                raise
            raise Unauthenticated(
                "this command needs the admin token of the server: give --admin-token-file "
                "FILE, or --token-file FILE where the server has a policy",
                reason=error.reason,
            ) from None
        except AccessDenied as error:
            if file is not None:
                error.add_note(f"the token comes from {file}")
            raise

    def _explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """Return the error with what is wrong with the connection, if that can be found out."""
        from prism.cli.diagnosis import explain

        # Of several, each failed in its own way; the error has one of them.
        why = None if "," in self.address else explain(self.address, self._tls)
        if why is None:
            return error
        return BackendUnavailable(
            f"no Prism server answers at {self.address}: {why}",
            reason=error.reason,
            outcome=error.outcome,
        )

    @property
    def _tls(self) -> TLS | None:
        if not self.tls and self.tls_ca is None and self.tls_cert is None:
            return None
        from prism import TLS

        password = self.tls_key_password_file
        return TLS(
            ca=self.tls_ca,
            cert=self.tls_cert,
            key=self.tls_key,
            key_password=None if password is None else read_secret(password),
        )


def _run(
    connecting: AbstractAsyncContextManager[Connected],
    task: Callable[[Connected], Awaitable[Result]],
) -> Result:
    async def connect_and_run() -> Result:
        async with connecting as client:
            return await task(client)

    return asyncio.run(connect_and_run())


def connection_of(ctx: typer.Context) -> ConnectionOptions:
    """Return the connection that the options of a `ClientCommand` describe."""
    assert isinstance(ctx.obj, ConnectionOptions)
    return ctx.obj


def complete_patterns(ctx: typer.Context) -> list[str]:
    """Return the names of the proxy's patterns, for completion of an argument."""
    return _pattern_names(ctx.params)


def _complete_patterns(
    ctx: Context, _args: list[str], _incomplete: str
) -> list[tuple[str, str] | str]:
    return [*_pattern_names(ctx.params)]


def _pattern_names(parameters: Mapping[str, Any]) -> list[str]:
    """Return the patterns of the proxy at `--address`; none if it does not answer soon."""
    known = {field.name for field in fields(ConnectionOptions)}
    given = {name: value for name, value in parameters.items() if name in known and value}

    async def names(client: AdminClient) -> list[str]:
        return [each.status.name for each in await client.patterns.all()]

    # A shell shows nothing but completions.
    with contextlib.suppress(Exception):
        connection = ConnectionOptions(**{**given, "timeout": _COMPLETION_TIMEOUT})
        return connection.administer(names)
    return []


_connection_option = partial(TyperOption, show_envvar=True, rich_help_panel="Connection")
_tls_option = partial(TyperOption, rich_help_panel="TLS")
_tracing_option = partial(TyperOption, show_envvar=True, rich_help_panel="Tracing")

_address_option = partial(
    _connection_option,
    param_decls=["--address"],
    metavar="HOST:PORT|unix:PATH",
    default=DEFAULT_ADDRESS,
    envvar="PRISM_ADDRESS",
    show_default=True,
)
_ADDRESS = _address_option(type=parser(parse_address), help="Address of the server.")
_ADDRESSES = _address_option(
    type=parser(parse_addresses),
    help="Address of the server, or of several that share one store, separated by commas.",
)
_ADDRESS_ARGUMENT = TyperArgument(
    param_decls=["address"],
    metavar="ADDRESS",
    type=parser(parse_addresses),
    default=DEFAULT_ADDRESS,
    required=False,
    envvar="PRISM_ADDRESS",
    show_envvar=True,
    show_default=True,
    help="Address of the server: HOST:PORT or unix:PATH, or several separated by commas.",
)
_PATTERN = _connection_option(
    param_decls=["--pattern"],
    metavar="NAME",
    envvar="PRISM_PATTERN",
    show_default="the proxy's default",
    autocompletion=_complete_patterns,
    help="Pattern of a proxy that serves the calls.",
)
_ADMIN_TOKEN_FILE = _connection_option(
    param_decls=["--admin-token-file"],
    metavar="FILE",
    type=Path,
    envvar="PRISM_ADMIN_TOKEN_FILE",
    help="File with the admin token, which a server that is not on loopback requires.",
)
_COMMON = (
    _connection_option(
        param_decls=["--token-file"],
        metavar="FILE",
        type=Path,
        envvar="PRISM_TOKEN_FILE",
        help="File with the caller's token, for a server with a policy.",
    ),
    _connection_option(
        param_decls=["--timeout"],
        metavar="DURATION",
        type=positive_duration,
        default=DEFAULT_TIMEOUT,
        show_default="5s",
        help="Time to wait for each reply.",
    ),
    _tls_option(
        param_decls=["--tls"],
        is_flag=True,
        default=False,
        help="Use TLS, and trust the certificate authorities of this system.",
    ),
    *(
        _tls_option(param_decls=[flag], metavar="FILE", type=Path, help=text)
        for flag, text in (
            ("--tls-ca", "PEM certificates of the authorities to trust; implies --tls."),
            ("--tls-cert", "PEM certificate to present to the server; implies --tls."),
            ("--tls-key", "PEM private key of --tls-cert."),
            ("--tls-key-password-file", "File with the password of --tls-key."),
        )
    ),
    _tracing_option(
        param_decls=["--enable-tracing"],
        is_flag=True,
        default=False,
        envvar="PRISM_ENABLE_TRACING",
        help="Trace the command and the calls it makes.",
    ),
    _tracing_option(
        param_decls=["--trace-exporter"],
        metavar="|".join(_TRACE_EXPORTERS),
        type=parser(_parse_exporter),
        envvar="PRISM_TRACE_EXPORTER",
        show_default="as OTEL_TRACES_EXPORTER says",
        autocompletion=complete_from(lambda: _TRACE_EXPORTERS),
        help="Exporter of spans. stdout writes to stderr, because the result goes to stdout.",
    ),
)


class ClientCommand(PanelCommand):
    """Command that calls a server: has the `ConnectionOptions` beside its own.

    Its function takes a `typer.Context` and passes that to `connection_of`.
    """

    connection_parameters: ClassVar[Sequence[TyperOption | TyperArgument]] = (_ADDRESS, *_COMMON)

    def get_params(self, ctx: Context) -> list[Parameter]:
        return [*super().get_params(ctx), *self.connection_parameters]

    def invoke(self, ctx: Context) -> object:
        names = [parameter.name or "" for parameter in self.connection_parameters]
        connection = ConnectionOptions(**{name: ctx.params.pop(name) for name in names})
        ctx.obj = connection
        if not connection.enable_tracing:
            return super().invoke(ctx)
        with _traced(ctx.command_path, connection.trace_exporter) as tracing:
            ctx.obj = replace(connection, tracing=tracing)
            return super().invoke(ctx)


class KeyCommand(ClientCommand):
    """Command that calls keys, which a pattern of a proxy may serve."""

    connection_parameters = (_ADDRESSES, _PATTERN, *_COMMON)


class BenchCommand(ClientCommand):
    """Command that calls keys and takes the address as an argument."""

    connection_parameters = (_ADDRESS_ARGUMENT, _PATTERN, *_COMMON)


class AdminCommand(ClientCommand):
    """Command that administers a server."""

    connection_parameters = (_ADDRESS, _ADMIN_TOKEN_FILE, *_COMMON)


@contextmanager
def _traced(command: str, exporter: str | None) -> Iterator[Tracing]:
    """Make one trace of the calls in this context, and export it at the end.

    Args:
        command: name of the root span, such as `prism kv get`.
        exporter: where spans go; None: as OpenTelemetry's environment variables say.
    """
    # OpenTelemetry is imported only when tracing is on.
    from opentelemetry.trace import Status, StatusCode

    from prism.adapters.observability.tracing import new_tracing
    from prism.adapters.observability.tracing.environment import secrets_in
    from prism.domain.redaction import Redactor

    tracing = new_tracing(
        exporter=exporter,
        ratio=None,
        # The result of the command goes to stdout.
        out=sys.stderr,
        redact=Redactor(secrets_in(os.environ)),
    )
    tracing.open()
    try:
        with tracing.tracer.start_as_current_span(
            command, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield tracing
            except PrismError as error:
                span.set_attribute("error.type", error.reason)
                span.set_status(Status(StatusCode.ERROR, error.message))
                raise
    finally:
        asyncio.run(tracing.close())
