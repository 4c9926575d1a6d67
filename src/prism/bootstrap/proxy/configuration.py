"""From what was given, where, to the settings and the pattern specs that hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from prism.bootstrap.config_file import DEFAULT_PATH
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
from prism.bootstrap.options import Option, server_options
from prism.bootstrap.proxy.config_file import drivers_of, texts_of
from prism.bootstrap.proxy.naming import (
    DRIVER,
    check_name,
    load_driver,
    parse_pattern,
    pattern_options,
)
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.patterns.supervisor import NoSettings
from prism.domain.patterns.values import PatternSpec
from prism.domain.settings import SettingField, parse_settings
from prism.ports import DriverSpec, InvalidArgument

VARIABLE = "PRISM_PATTERNS"
"""`NAME=DRIVER`, separated by blanks or commas."""


def _made_of_the_plans() -> NoReturn:
    raise NotImplementedError("the container makes the patterns")


# What a driver is to a server, the patterns are to a proxy.
_SPEC = DriverSpec(
    name="proxy",
    version=version("prism"),
    summary="Patterns: drivers in processes of their own",
    settings=NoSettings,
    factory=_made_of_the_plans,
    capabilities={},
)


@dataclass(frozen=True, slots=True)
class PatternChoice(Choice):
    """The patterns and the config file, which decide on all other options.

    Attributes:
        specs: of the driver, by name of the pattern.
        origins: where each pattern was given, in words.
    """

    specs: Mapping[str, DriverSpec]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfiguration(ServerConfiguration):
    """Everything that was configured of a proxy.

    Attributes:
        patterns: in the order in which they were given.
    """

    settings: ProxySettings
    patterns: Sequence[PatternSpec]


def choose(given: Iterable[str], file: Path | None) -> PatternChoice:
    """Read the config file, load the drivers, and find out which options there are.

    A pattern of the same name in the config file has the driver that is given here.

    Args:
        given: `NAME=DRIVER`, by flags.
        file: as given by flag or environment; None: by neither.

    Raises:
        InvalidArgument: the file is wrong, or a name, or there is no such driver.
        BrokenDriver: a driver cannot be loaded.
    """
    file, tree = read_file(file, DEFAULT_PATH)
    drivers = drivers_of(file, tree)
    origins = dict.fromkeys(drivers, f"file {file}")
    variable = os.environ.get(VARIABLE, "").replace(",", " ").split()
    for texts, origin in ((variable, f"environment {VARIABLE}"), (given, "flag --pattern")):
        named = _by_name(texts, origin)
        drivers |= named
        origins |= dict.fromkeys(named, origin)
    for name in drivers:
        check_name(name)
    specs = {name: load_driver(name, driver) for name, driver in drivers.items()}
    server = server_options(ProxySettings)
    options = [*server, *pattern_options(specs, server)]
    texts_in_file = {} if file is None else texts_of(file, tree, options)
    return PatternChoice(_SPEC, options, file, texts_in_file, specs, origins)


def resolve(choice: PatternChoice, given: Mapping[str, Given]) -> ProxyConfiguration:
    """Make the settings and the pattern specs.

    Args:
        given: by option parameter, what was not left to its default.

    Raises:
        InvalidArgument: a value is wrong or missing; says where it came from.
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


def _by_name(texts: Iterable[str], origin: str) -> dict[str, str]:
    drivers: dict[str, str] = {}
    for text in texts:
        name, driver = parse_pattern(text)
        if name in drivers:
            raise InvalidArgument(f"the pattern {name!r} is given twice ({origin})")
        drivers[name] = driver
    return drivers


def _check_default(settings: ProxySettings, values: Iterable[Value], names: Iterable[str]) -> None:
    default = settings.default_pattern
    if default is not None and default not in names:
        origin = next(v.origin for v in values if v.option.path == "default_pattern")
        raise InvalidArgument(
            f"default_pattern is {default!r}, and there is no such pattern; "
            f"there are: {', '.join(names)} ({origin})"
        )


def _pattern_spec(name: str, spec: DriverSpec, values: Iterable[Value]) -> PatternSpec:
    settings = chosen_texts(v for v in values if v.option.pattern == name)
    try:
        # Its process reads the texts again; what is wrong is better said before it is launched.
        parse_settings(spec.settings, settings)
    except InvalidArgument as error:
        raise InvalidArgument(f"the pattern {name!r}: {error.message}") from None
    return PatternSpec(name, spec.name, settings)


def _with_drivers(choice: PatternChoice, values: Iterable[Value]) -> Iterable[Value]:
    """The values, and before those of each pattern its driver."""
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
        DRIVER, str, required=True, default=None, help="", secret=False, expects="text"
    )
    driver = choice.specs[pattern].name
    return Value(Option(field, driver, pattern=pattern), driver, choice.origins[pattern])
