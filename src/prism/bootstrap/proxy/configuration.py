"""Configuration of a proxy: its patterns, their options, and the effective settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, Self

from prism.bootstrap import discovery
from prism.bootstrap.config_file import DEFAULT_PATH, by_section, section_texts
from prism.bootstrap.configuration import (
    Choice,
    Given,
    ServerConfiguration,
    Value,
    chosen_texts,
    read_file,
    server_settings,
    values_of,
)
from prism.bootstrap.options import Option, options_of, server_options
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.patterns.supervisor import NoSettings
from prism.domain.patterns.values import PatternSpec
from prism.domain.redaction import Redactor
from prism.domain.settings import SettingField, parse_settings, settings_of
from prism.ports import DriverSpec, InvalidArgument
from prism.version import VERSION

VARIABLE = "PRISM_PATTERNS"
"""Environment variable with patterns as `NAME=DRIVER`, separated by blanks or commas."""

_SECTION = "patterns"
# Key in a pattern's section of a config file.
_DRIVER = "driver"

_NAME = re.compile("[a-z][a-z0-9-]*")
# The name is part of the path of a socket, which has at most a hundred bytes.
_LONGEST_NAME = 40

# Flags of the command line that are not settings.
_RESERVED = ("--config", "--pattern", "--help", "--version", "--json")


def _no_factory() -> NoReturn:
    raise NotImplementedError("the container makes the patterns")


# A proxy has patterns where a server has a driver.
_SPEC = DriverSpec(
    name="proxy",
    version=VERSION,
    summary="Patterns: drivers in processes of their own",
    settings=NoSettings,
    factory=_no_factory,
    capabilities={},
)


@dataclass(frozen=True, slots=True)
class PatternChoice(Choice):
    """Patterns and config file, and the options that follow from them.

    Attributes:
        specs: driver of each pattern, by name of the pattern.
        origins: source of each pattern in words, by name.
    """

    specs: Mapping[str, DriverSpec]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfiguration(ServerConfiguration):
    """Configuration of a proxy.

    Attributes:
        patterns: patterns in the order in which they were given.
    """

    settings: ProxySettings
    patterns: Sequence[PatternSpec]

    def _with_values(self, values: Sequence[Value]) -> Self:
        given = [v for v in values if not (v.option.pattern and v.option.key == _DRIVER)]
        patterns = [
            _pattern_spec(each.name, load_driver(each.name, each.driver), given)
            for each in self.patterns
        ]
        settings = server_settings(ProxySettings, values)
        return replace(self, settings=settings, patterns=patterns, values=values)

    # Each pattern has limits of its own; a call that waits for one must not keep others out.

    @property
    def max_in_flight(self) -> int:
        return len(self.patterns) * self.settings.max_in_flight

    @property
    def max_per_connection(self) -> int:
        return len(self.patterns) * self.settings.max_in_flight_per_connection


def choose(given: Iterable[str], file: Path | None) -> PatternChoice:
    """Read the config file, load the drivers, and find the options.

    A driver that is given here replaces that of the same pattern in the config file.

    Args:
        given: `NAME=DRIVER`, by flags.
        file: config file given by flag or environment; None: by neither.

    Raises:
        InvalidArgument: the file or a name is not valid, or there is no such driver.
        BrokenDriver: a driver cannot be loaded.
    """
    file, tree = read_file(file, DEFAULT_PATH)
    sections = _sections(file, tree)
    drivers = {name: str(section[_DRIVER]) for name, section in sections.items()}
    origins = dict.fromkeys(drivers, f"file {file}")
    variable = os.environ.get(VARIABLE, "").replace(",", " ").split()
    for texts, origin in ((variable, f"environment {VARIABLE}"), (given, "flag --pattern")):
        named = _by_name(texts, origin)
        drivers |= named
        origins |= dict.fromkeys(named, origin)
    for name in drivers:
        _check_name(name)
    specs = {name: load_driver(name, driver) for name, driver in drivers.items()}
    server = server_options(ProxySettings)
    options = [*server, *_pattern_options(specs, server)]
    texts_in_file = {} if file is None else _file_texts(file, tree, sections, options)
    return PatternChoice(_SPEC, options, file, texts_in_file, specs, origins)


def resolve(choice: PatternChoice, given: Mapping[str, Given]) -> ProxyConfiguration:
    """Return the configuration of the given values.

    Args:
        given: values by option parameter, except those left to their defaults.

    Raises:
        InvalidArgument: a value is not valid or missing; the text names its source.
    """
    if not choice.specs:
        raise InvalidArgument(
            "a proxy needs a pattern: give --pattern NAME=DRIVER, such as "
            "--pattern cache=memstore, or a section `patterns` in a config file"
        )
    values = values_of(choice, given)
    settings = server_settings(ProxySettings, values)
    _check_default(settings, values, choice.specs)
    patterns = [_pattern_spec(name, spec, values) for name, spec in choice.specs.items()]
    return ProxyConfiguration(
        settings=settings,
        spec=choice.spec,
        driver_settings={},
        values=[*_with_drivers(choice, values)],
        file=choice.file,
        options=choice.options,
        patterns=patterns,
    )


def load_driver(pattern: str, driver: str) -> DriverSpec:
    """Return the driver of a pattern.

    Raises:
        InvalidArgument: there is no such driver; the text lists those that are installed.
        BrokenDriver: the driver cannot be loaded.
    """
    try:
        return discovery.load(driver)
    except discovery.UnknownDriver as error:
        raise InvalidArgument(f"the pattern {pattern!r}: {error.message}") from None


def _sections(path: Path | None, tree: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """Return the section of each pattern in the config file; each names its driver."""
    patterns = tree.get(_SECTION) or {}
    if not isinstance(patterns, dict):
        raise InvalidArgument(f"{path}: {_SECTION!r} must be a mapping of patterns to settings")
    for name, section in patterns.items():
        if not (isinstance(section, dict) and isinstance(section.get(_DRIVER), str)):
            raise InvalidArgument(
                f"{path}: {_SECTION}.{name} names no driver: add {_DRIVER}, such as "
                f"'{_DRIVER}: redis'"
            )
    return {str(name): section for name, section in patterns.items()}


def _file_texts(
    path: Path,
    tree: Mapping[str, object],
    sections: Mapping[str, Mapping[str, object]],
    options: Iterable[Option],
) -> dict[str, str]:
    """Return the settings in the config file as text, by option parameter."""
    known = by_section(options)
    top = {key: value for key, value in tree.items() if key != _SECTION}
    texts = section_texts(path, "", top, known, also=[_SECTION])
    for name, section in sections.items():
        settings = {key: value for key, value in section.items() if key != _DRIVER}
        texts |= section_texts(path, f"{_SECTION}.{name}", settings, known, also=[_DRIVER])
    return texts


def _by_name(texts: Iterable[str], origin: str) -> dict[str, str]:
    """Return the driver of each `NAME=DRIVER`, by name."""
    drivers: dict[str, str] = {}
    for text in texts:
        name, separator, driver = text.partition("=")
        if not (separator and name and driver):
            raise InvalidArgument(f"{text!r} is not NAME=DRIVER, such as sessions=redis")
        if name in drivers:
            raise InvalidArgument(f"the pattern {name!r} is given twice ({origin})")
        drivers[name] = driver
    return drivers


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is not a valid name of a pattern: it must begin with a lower case letter; "
            "lower case letters, digits and hyphens may follow"
        )
    if len(name) > _LONGEST_NAME:
        raise InvalidArgument(
            f"the name of the pattern {name!r} has {len(name)} characters; the maximum is "
            f"{_LONGEST_NAME}"
        )


def _pattern_options(specs: Mapping[str, DriverSpec], server: Sequence[Option]) -> Iterator[Option]:
    """Yield the options of every pattern; raises InvalidArgument if two have the same name."""
    taken = dict.fromkeys(_RESERVED, "is a flag of the proxy")
    for option in server:
        taken |= dict.fromkeys(_flags(option), "is a flag of the proxy")
    for name, spec in specs.items():
        for option in options_of(spec.settings, spec.name, name):
            problem = next(
                (f"{each} {taken[each]}" for each in _flags(option) if each in taken), ""
            )
            if option.key == _DRIVER:
                problem = f"in a config file, {_SECTION}.{name}.{_DRIVER} is the name of the driver"
            if problem:
                raise InvalidArgument(
                    f"a pattern of the driver {spec.name!r} cannot have the name {name!r}, because "
                    f"of the setting {option.key!r}: {problem}; choose another name"
                )
            taken |= dict.fromkeys(_flags(option), f"is a flag of the pattern {name!r}")
            yield option


def _flags(option: Option) -> list[str]:
    return option.declaration.split("/")


def _check_default(settings: ProxySettings, values: Iterable[Value], names: Iterable[str]) -> None:
    default = settings.default_pattern
    if default is not None and default not in names:
        origin = next(v.origin for v in values if v.option.path == "default_pattern")
        raise InvalidArgument(
            f"default_pattern is {default!r}, which is not a pattern; the patterns are: "
            f"{', '.join(names)} ({origin})"
        )


def _pattern_spec(name: str, spec: DriverSpec, values: Iterable[Value]) -> PatternSpec:
    settings = chosen_texts(v for v in values if v.option.pattern == name)
    try:
        # Errors are reported before the process is launched, which parses the texts again.
        parse_settings(spec.settings, settings)
    except InvalidArgument as error:
        raise InvalidArgument(f"the pattern {name!r}: {error.message}") from None
    return PatternSpec(name, spec.name, with_absolute_paths(spec.settings, settings))


def with_absolute_paths(settings_type: type, texts: Mapping[str, str]) -> dict[str, str]:
    """Return a driver's settings with paths that mean the same in the folder of a pattern."""
    paths = {field.name for field in settings_of(settings_type) if field.type is Path}
    return {
        name: str(Path(text).absolute()) if name in paths else text for name, text in texts.items()
    }


def _with_drivers(choice: PatternChoice, values: Iterable[Value]) -> Iterator[Value]:
    """Yield the values, and before those of each pattern its driver."""
    shown: set[str] = set()
    for value in values:
        pattern = value.option.pattern
        if pattern and pattern not in shown:
            shown.add(pattern)
            yield _driver_of(choice, pattern)
        yield value
    for pattern in choice.specs:
        if pattern not in shown:
            yield _driver_of(choice, pattern)


def _driver_of(choice: PatternChoice, pattern: str) -> Value:
    field = SettingField(
        _DRIVER, str, required=True, default=None, help="", secret=False, expects="text"
    )
    driver = choice.specs[pattern].name
    return Value(Option(field, driver, pattern=pattern), driver, choice.origins[pattern])


class PatternValidator:
    """Checks specifications that operators give while the proxy runs.

    Args:
        redactor: gets the secrets of each specification, before anything can log them.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, spec: PatternSpec) -> PatternSpec:
        """Return the specification, with absolute paths.

        Raises:
            InvalidArgument: the driver is not installed, or a setting is wrong.
        """
        driver = load_driver(spec.name, spec.driver)
        self._redactor.register_settings(driver.settings, spec.settings)
        try:
            parse_settings(driver.settings, spec.settings)
        except InvalidArgument as error:
            raise InvalidArgument(f"the pattern {spec.name!r}: {error.message}") from None
        return replace(spec, settings=with_absolute_paths(driver.settings, spec.settings))
