"""Configuration of a server: from the given values to the effective settings.

Typer resolves precedence (flag, environment, config file, default). This module finds the
options, reads secrets from files, and remembers where each value comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Self, TypeVar

from prism.bootstrap import config_file, discovery
from prism.bootstrap.files import check_unnamed_config, read_secret
from prism.bootstrap.options import (
    Option,
    driver_options,
    managed_options,
    server_options,
    with_defaults,
)
from prism.bootstrap.setting_checks import InvalidSetting
from prism.bootstrap.settings import ServerSettings, ServeSettings
from prism.domain.redaction import REDACTED, credentials_in, redact_urls
from prism.domain.settings import parse_settings, to_text
from prism.ports import DriverSpec, InvalidArgument

Settings = TypeVar("Settings", bound=ServerSettings)

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://[^/\s]+:\d+", re.IGNORECASE)

# Variables of the command line that are not settings of a server.
_OTHER_VARIABLES = {
    "PRISM_CONFIG",
    "PRISM_ADDRESS",
    "PRISM_PATTERN",
    "PRISM_TOKEN_FILE",
    "PRISM_TRACEBACK",
}


class Source(IntEnum):
    """Where a value was given; the greater source wins."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    FLAG = 3


@dataclass(frozen=True, slots=True)
class Given:
    """Value of one option, and where it was given."""

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Choice:
    """Driver and config file, and the options that follow from them.

    Attributes:
        file: config file that was read; None: none.
        file_texts: values in the config file, by option parameter.
    """

    spec: DriverSpec
    options: Sequence[Option]
    file: Path | None
    file_texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Value:
    """Effective value of one setting, and its source in words.

    Attributes:
        file: file that the value was read from, if it is a secret in a file of its own.
    """

    option: Option
    text: str | None
    origin: str
    file: Path | None = None

    @property
    def shown(self) -> str | None:
        """Text with secrets redacted."""
        if self.text is None:
            return None
        return REDACTED if self.option.field.secret else redact_urls(self.text)


@dataclass(frozen=True, slots=True)
class ServerConfiguration:
    """Configuration of any server.

    Attributes:
        spec: driver that is served.
        driver_settings: settings of the driver as text, except its defaults.
        values: effective value of each option.
        file: config file that was read; None: none.
        options: all options that the command had.
    """

    settings: ServerSettings
    spec: DriverSpec
    driver_settings: Mapping[str, str]
    values: Sequence[Value] = ()
    file: Path | None = None
    options: Sequence[Option] = ()

    @property
    def secrets(self) -> Iterator[str]:
        """Secret values, and the credentials in URLs."""
        for value in self.values:
            if value.text is None:
                continue
            if value.option.field.secret:
                yield value.text
            yield from credentials_in(value.text)

    @property
    def max_in_flight(self) -> int:
        """Maximum number of operations in flight in this process."""
        return self.settings.max_in_flight

    @property
    def max_per_connection(self) -> int:
        """Maximum number of operations in flight on one connection."""
        return self.settings.max_in_flight_per_connection

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """Files that hold one secret each."""
        return tuple(value.file for value in self.values if value.file is not None)

    @property
    def named_files(self) -> tuple[Path, ...]:
        """Files that other settings name, such as certificates."""
        return tuple(
            Path(value.text)
            for value in self.values
            if value.text is not None and value.option.field.type is Path
        )

    def reread(self) -> Self:
        """Return the configuration with the present content of the secret files.

        Raises:
            InvalidArgument: a file cannot be read, or its content is not valid.
        """
        return self._with_values([_reread(value) for value in self.values])

    def _with_values(self, values: Sequence[Value]) -> Self:
        raise NotImplementedError

    def initialized_with(self, driver_settings: Mapping[str, str]) -> Self:
        """Return the configuration with the driver settings of an Initialize command."""
        if driver_settings == self.driver_settings:
            return self
        values = [
            replace(
                value,
                text=driver_settings.get(value.option.key, value.option.field.default),
                origin="Initialize command" if value.option.key in driver_settings else "default",
            )
            if value.option.driver
            else value
            for value in self.values
        ]
        return replace(self, driver_settings=driver_settings, values=values)


@dataclass(frozen=True, slots=True)
class Configuration(ServerConfiguration):
    """Configuration of a server with one driver."""

    settings: ServeSettings

    def _with_values(self, values: Sequence[Value]) -> Self:
        settings = server_settings(ServeSettings, values)
        texts = chosen_texts(value for value in values if value.option.driver)
        if settings.proxy_address is None:
            parse_settings(self.spec.settings, texts)
        return replace(self, settings=settings, driver_settings=texts, values=values)


def choose(
    driver: str | None, file: Path | None, default_file: Path | None = config_file.DEFAULT_PATH
) -> Choice:
    """Read the config file, load the driver, and find the options.

    Args:
        driver: driver given by flag or environment; None: by neither.
        file: config file given by flag or environment; None: by neither.
        default_file: config file to read when none is given and this one exists.

    Raises:
        InvalidArgument: the file is not valid, or there is no such driver.
        BrokenDriver: the driver cannot be loaded.
    """
    file, tree = read_file(file, default_file)
    server = server_options()
    if driver is None:
        named = tree.get("driver")
        default = next(option.field.default for option in server if option.key == "driver")
        driver = named if isinstance(named, str) else default
        assert driver is not None  # the option has a default
    try:
        spec = discovery.load(driver)
    except discovery.UnknownDriver as error:
        if file is not None and driver == tree.get("driver"):
            raise InvalidArgument(f"{file}: {error.message}") from None
        raise
    return _choice(spec, server, file, tree)


def choose_for(
    spec: DriverSpec, defaults: Mapping[str, str], file: Path | None, default_file: Path | None
) -> Choice:
    """Read the config file and find the options, for a program that serves one driver.

    Args:
        defaults: texts by key that replace the server's defaults.
        file: as for `choose`.
        default_file: as for `choose`.
    """
    file, tree = read_file(file, default_file)
    server = with_defaults(server_options(), {**defaults, "driver": spec.name})
    return _choice(spec, server, file, tree)


def read_file(
    file: Path | None, default_file: Path | None
) -> tuple[Path | None, Mapping[str, object]]:
    """Return the config file to use, if any, and its content."""
    if file is None and default_file is not None and _exists(default_file):
        check_unnamed_config(default_file)
        file = default_file
    return file, config_file.read(file) if file is not None else {}


def _exists(default_file: Path) -> bool:
    try:
        default_file.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InvalidArgument(
            f"cannot look for {default_file} in the working folder: {error.strerror}; start in "
            "another folder, or name a config file with --config"
        ) from None
    return True


def _choice(
    spec: DriverSpec, server: Sequence[Option], file: Path | None, tree: Mapping[str, object]
) -> Choice:
    options = [*server, *driver_options(spec)]
    texts = {}
    if file is not None:
        texts = config_file.texts_of(file, tree, options, {*discovery.names(), spec.name})
    return Choice(spec, options, file, texts)


def resolve(choice: Choice, given: Mapping[str, Given]) -> Configuration:
    """Return the configuration of the given values.

    Args:
        given: values by option parameter, except those left to their defaults.

    Raises:
        InvalidArgument: a value is not valid or missing; the text names its source.
    """
    if "proxy_address" in given:
        _reject_driver_settings(choice, given)
        choice = replace(choice, options=managed_options(choice.options))
    values = values_of(choice, given)
    settings = server_settings(ServeSettings, values)
    driver_settings = chosen_texts(v for v in values if v.option.driver)
    if settings.proxy_address is None:
        # Errors are reported before anything is opened; the driver parses the texts again when
        # it is initialized.
        parse_settings(choice.spec.settings, driver_settings)
    return Configuration(
        settings, choice.spec, driver_settings, values, choice.file, choice.options
    )


def _reject_driver_settings(choice: Choice, given: Mapping[str, Given]) -> None:
    for option in choice.options:
        if option.driver and option.parameter in given:
            raise InvalidArgument(
                f"the proxy configures the driver: give {option.path} to the proxy, not here "
                f"({_origin(choice, option, given[option.parameter].source)})"
            )


def values_of(choice: Choice, given: Mapping[str, Given]) -> list[Value]:
    """Return the effective value of every option; raises as `resolve`."""
    return [_value(choice, option, given) for option in choice.options if not option.holds_path]


def server_settings(settings_type: type[Settings], values: Sequence[Value]) -> Settings:
    """Return the settings of the server itself, from all values.

    Raises:
        InvalidArgument: a value is not valid; the text names its source.
    """
    own = {v.option.key: v.text for v in values if not v.option.driver and v.text is not None}
    try:
        return parse_settings(settings_type, own)
    except InvalidSetting as error:
        origin = next(v.origin for v in values if v.option.path == error.name)
        where = "" if origin == "default" else f" ({origin})"
        raise InvalidArgument(f"{error.message}{where}") from None


def chosen_texts(values: Iterable[Value]) -> dict[str, str]:
    """Return the texts by key, except defaults."""
    return {v.option.key: v.text for v in values if v.origin != "default" and v.text is not None}


def is_service_link(option: Option, text: str) -> bool:
    """Return whether a variable was set by Kubernetes for a Service, and not by an operator.

    A Service `prism-metrics` sets PRISM_METRICS_PORT=tcp://10.0.0.5:9091 in every pod.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    is_port = option.field.type is int or option.variable.endswith("_PORT")
    return is_port and _SERVICE_LINK.fullmatch(text) is not None


def service_links(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """Return a warning for each variable of a setting that is ignored as a service link."""
    return [
        f"{option.variable}={text} is ignored: Kubernetes sets it for a Service of that name; "
        "set enableServiceLinks: false in the pod"
        for option in options
        if is_service_link(option, text := environ.get(option.variable, ""))
    ]


def misspelt_variables(environ: Iterable[str], options: Iterable[Option]) -> list[str]:
    """Return a warning for each environment variable that looks like a misspelt setting.

    Other unknown variables are not mistakes: Kubernetes sets PRISM_SERVICE_HOST in every pod
    next to a service named prism.
    """
    valid = {option.variable for option in options} | _OTHER_VARIABLES
    found = []
    for name in sorted(environ):
        if name.startswith("PRISM_") and name not in valid:
            close = get_close_matches(name, valid, n=1, cutoff=0.85)
            if close:
                found.append(f"{name} is not a setting and has no effect; did you mean {close[0]}?")
    return found


def _value(choice: Choice, option: Option, given: Mapping[str, Given]) -> Value:
    direct = given.get(option.parameter)
    if option.field.secret:
        by_file = given.get(f"{option.parameter}_file")
        if by_file is not None and (direct is None or by_file.source >= direct.source):
            origin = _origin(choice, replace(option, holds_path=True), by_file.source)
            if direct is not None and direct.source == by_file.source:
                other = _origin(choice, option, direct.source)
                raise InvalidArgument(f"{option.path} is given twice: by {other} and by {origin}")
            path = Path(by_file.text)
            return Value(option, _secret_in(path, option, origin), f"{origin}: {path}", path)
    if direct is not None:
        text = to_text(option.field.parse(direct.text))
        return Value(option, text, _origin(choice, option, direct.source))
    if option.field.required:
        raise InvalidArgument(
            f"{option.path} is required: {option.field.help} Set it with the flag {option.flag}, "
            f"{option.variable} or {option.path} in a config file"
        )
    return Value(option, option.field.default, "default")


def _reread(value: Value) -> Value:
    if value.file is None:
        return value
    return replace(value, text=_secret_in(value.file, value.option, value.origin))


def _origin(choice: Choice, option: Option, source: Source) -> str:
    match source:
        case Source.FLAG:
            return f"flag {option.flag}"
        case Source.ENVIRONMENT:
            return f"environment {option.variable}"
        case Source.FILE:
            return f"file {choice.file}"
        case Source.DEFAULT:
            return "default"


def _secret_in(path: Path, option: Option, origin: str) -> str:
    try:
        text = read_secret(path)
    except InvalidArgument as error:
        raise InvalidArgument(f"{option.path}: {error.message} ({origin})") from None
    option.field.parse(text)
    return text
