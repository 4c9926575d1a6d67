"""What patterns are called, and the options that come of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from prism.bootstrap import discovery
from prism.bootstrap.options import Option, options_of
from prism.ports import DriverSpec, InvalidArgument

DRIVER = "driver"
"""In the section of a pattern in a config file: its driver."""

_NAME = re.compile("[a-z][a-z0-9-]*")
# It is part of a socket's path, of which there is no more than a hundred bytes.
_LONGEST_NAME = 40

# Flags of the command line that are no settings.
_RESERVED = ("--config", "--pattern", "--help", "--version", "--json")


def parse_pattern(text: str) -> tuple[str, str]:
    """Name and driver in `NAME=DRIVER`; raises InvalidArgument."""
    name, separator, driver = text.partition("=")
    if not (separator and name and driver):
        raise InvalidArgument(f"{text!r} is no pattern: write NAME=DRIVER, such as sessions=redis")
    return name, driver


def check_name(name: str) -> None:
    """Raises InvalidArgument for what is no name of a pattern."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is no name of a pattern: it begins with a lower case letter, and goes on "
            "in lower case letters, digits and hyphens"
        )
    if len(name) > _LONGEST_NAME:
        raise InvalidArgument(
            f"the name of the pattern {name!r} is {len(name)} characters long; "
            f"{_LONGEST_NAME} is the longest"
        )


def load_driver(pattern: str, driver: str) -> DriverSpec:
    """The driver of a pattern.

    Raises:
        InvalidArgument: there is none of that name; those that are, are listed.
        BrokenDriver: it cannot be loaded.
    """
    try:
        return discovery.load(driver)
    except discovery.UnknownDriver as error:
        raise InvalidArgument(f"the pattern {pattern!r}: {error.message}") from None


def pattern_options(specs: Mapping[str, DriverSpec], server: Sequence[Option]) -> Iterable[Option]:
    """The options of every pattern, none of which is called as another.

    Args:
        specs: by name of the pattern.

    Raises:
        InvalidArgument: two options would have the same name.
    """
    taken = dict.fromkeys(_RESERVED, "is a flag of the proxy")
    for option in server:
        taken |= dict.fromkeys(_flags(option), "is a flag of the proxy")
    for name, spec in specs.items():
        for option in options_of(spec.settings, spec.name, name):
            problem = next(
                (f"{each} {taken[each]}" for each in _flags(option) if each in taken), ""
            )
            if option.key == DRIVER:
                problem = f"in a config file, patterns.{name}.{DRIVER} is the name of the driver"
            if problem:
                raise InvalidArgument(
                    f"no pattern of the driver {spec.name!r} can be called {name!r}, because of "
                    f"its setting {option.key!r}: {problem}; choose another name"
                )
            taken |= dict.fromkeys(_flags(option), f"is a flag of the pattern {name!r}")
            yield option


def _flags(option: Option) -> list[str]:
    return option.declaration.split("/")
