"""From what was given, where, to the settings that hold.

Which of two places wins is Typer's business (flag, environment, config file,
default); this module knows what there is to choose from, and reads secrets from
the files that are named instead of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any

from prism.adapters.observability.masking import credentials_in
from prism.bootstrap import config_file, discovery
from prism.bootstrap.options import Option, driver_options, server_options, with_defaults
from prism.bootstrap.secret_files import read_secret
from prism.bootstrap.settings import InvalidSetting, ServeSettings
from prism.domain.settings import parse_settings, to_text
from prism.ports import DriverSpec, InvalidArgument

# No settings of a server, but known to the command line.
_OTHER_VARIABLES = {"PRISM_CONFIG", "PRISM_ADDRESS", "PRISM_TRACEBACK"}


class Source(IntEnum):
    """Where a value was given; the greater wins."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    FLAG = 3


@dataclass(frozen=True, slots=True)
class Given:
    """What one option was given as."""

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Choice:
    """The driver and the config file, which decide on all other options.

    Attributes:
        file: the config file that was read, if any.
        file_texts: what it says, by option parameter.
    """

    spec: DriverSpec
    options: Sequence[Option]
    file: Path | None
    file_texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Value:
    """One setting as it holds, and where it came from, in words."""

    option: Option
    text: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that was configured.

    Attributes:
        driver_settings: as text, what was not left to the driver's defaults.
        file: the config file that was used, if any.
        options: all that could have been given.
    """

    settings: ServeSettings
    spec: DriverSpec
    driver_settings: Mapping[str, str]
    values: Sequence[Value] = ()
    file: Path | None = None
    options: Sequence[Option] = ()

    @property
    def secrets(self) -> Iterator[str]:
        """What is secret of the values, and the credentials in the URLs among them."""
        for value in self.values:
            if value.text is None:
                continue
            if value.option.field.secret:
                yield value.text
            yield from credentials_in(value.text)


def choose(driver: str | None, file: Path | None) -> Choice:
    """Read the config file, load the driver, and find out which options there are.

    Args:
        driver: as given by flag or environment; None: by neither.
        file: likewise.

    Raises:
        InvalidArgument: the file is wrong, or there is no such driver.
        BrokenDriver: the driver cannot be loaded.
    """
    file, tree = _read(file, config_file.DEFAULT_PATH)
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
    spec: DriverSpec, defaults: Mapping[str, str], file: Path | None, default_file: Path
) -> Choice:
    """The same for a program that serves one driver, with defaults of its own.

    Args:
        defaults: texts by key, in place of the server's.
        default_file: read when no file is given and this one exists.
    """
    file, tree = _read(file, default_file)
    server = with_defaults(server_options(), {**defaults, "driver": spec.name})
    return _choice(spec, server, file, tree)


def _read(file: Path | None, default_file: Path) -> tuple[Path | None, Mapping[str, Any]]:
    if file is None and default_file.exists():
        file = default_file
    return file, config_file.read(file) if file is not None else {}


def _choice(
    spec: DriverSpec, server: Sequence[Option], file: Path | None, tree: Mapping[str, Any]
) -> Choice:
    options = [*server, *driver_options(spec)]
    texts = {}
    if file is not None:
        texts = config_file.texts_of(file, tree, options, {*discovery.names(), spec.name})
    return Choice(spec, options, file, texts)


def resolve(choice: Choice, given: Mapping[str, Given]) -> Configuration:
    """Make the settings.

    Args:
        given: by option parameter, what was not left to its default.

    Raises:
        InvalidArgument: a value is wrong or missing; says where it came from.
    """
    values = [_value(choice, option, given) for option in choice.options if not option.holds_path]
    server = {v.option.key: v.text for v in values if not v.option.driver}
    driver = {v.option.key: v.text for v in values if v.option.driver and v.origin != "default"}
    driver_settings = {key: text for key, text in driver.items() if text is not None}
    try:
        settings = parse_settings(
            ServeSettings, {key: text for key, text in server.items() if text is not None}
        )
    except InvalidSetting as error:
        origin = next(v.origin for v in values if v.option.path == error.name)
        raise InvalidArgument(f"{error.message} ({origin})") from None
    # The driver gets the texts again when it is initialized; what is wrong with
    # them is better said before anything is opened.
    parse_settings(choice.spec.settings, driver_settings)
    return Configuration(
        settings, choice.spec, driver_settings, values, choice.file, choice.options
    )


def near_misses(environ: Iterable[str], options: Iterable[Option]) -> list[str]:
    """A sentence for each variable that looks like a misspelt one of ours.

    A wholly unknown one is nobody's mistake: Kubernetes sets PRISM_SERVICE_HOST
    in every pod next to a service named prism.
    """
    valid = {option.variable for option in options} | _OTHER_VARIABLES
    found = []
    for name in sorted(environ):
        if name.startswith("PRISM_") and name not in valid:
            close = get_close_matches(name, valid, n=1, cutoff=0.85)
            if close:
                found.append(f"{name} is not a setting and has no effect; {close[0]} is one")
    return found


def _value(choice: Choice, option: Option, given: Mapping[str, Given]) -> Value:
    direct = given.get(option.parameter)
    if option.field.secret:
        by_file = given.get(f"{option.parameter}_file")
        if by_file is not None and (direct is None or by_file.source >= direct.source):
            twin = next(o for o in choice.options if o.parameter == f"{option.parameter}_file")
            origin = _origin(choice, twin, by_file.source)
            if direct is not None and direct.source == by_file.source:
                both = _origin(choice, option, direct.source)
                raise InvalidArgument(f"{option.path} is given twice: by {both} and by {origin}")
            path = Path(by_file.text)
            return Value(option, _secret_in(path, option, origin), f"{origin}: {path}")
    if direct is not None:
        text = to_text(option.field.parse(direct.text))
        return Value(option, text, _origin(choice, option, direct.source))
    if option.field.required:
        ways = [f"the flag {option.flag}", option.variable, f"{option.path} in a config file"]
        raise InvalidArgument(
            f"{option.path} is not set, and is required: {option.field.help} "
            f"Set it with {', '.join(ways[:-1])} or {ways[-1]}"
        )
    return Value(option, option.field.default, "default")


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
