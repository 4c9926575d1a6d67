"""What each setting is called: as a flag, in the environment, and in a config file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from prism.bootstrap.discovery import BrokenDriver
from prism.bootstrap.settings import ServerSettings, ServeSettings
from prism.domain.settings import SettingField, settings_of
from prism.ports import DriverSpec, InvalidArgument

_METAVARS = {int: "NUMBER", float: "NUMBER", timedelta: "DURATION", Path: "PATH"}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting that can be given.

    Attributes:
        driver: whose setting it is; empty: the server's own.
        holds_path: it names a file that holds the secret `field`.
        pattern: whose driver that is; empty: this process's own.
    """

    field: SettingField
    driver: str = ""
    holds_path: bool = False
    pattern: str = ""

    @property
    def key(self) -> str:
        """Its key in the section of a config file."""
        return f"{self.field.name}_file" if self.holds_path else self.field.name

    @property
    def path(self) -> str:
        """Its key in the whole of a config file."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def section(self) -> str:
        """Where in a config file it is; empty: at the top."""
        if self.pattern:
            return f"patterns.{self.pattern}"
        return f"drivers.{self.driver}" if self.driver else ""

    @property
    def heading(self) -> str:
        """What it is shown under; empty: among the server's own."""
        if self.pattern:
            return f"Options of the pattern {self.pattern}, which is {self.driver}"
        return f"Options of the driver {self.driver}" if self.driver else ""

    @property
    def parameter(self) -> str:
        """Its name as a Python identifier, unique among all options."""
        owner = self.pattern or self.driver
        return f"{owner}_{self.key}".replace("-", "_") if owner else self.key

    @property
    def flag(self) -> str:
        return "--" + self.parameter.replace("_", "-")

    @property
    def declaration(self) -> str:
        """The flag with its opposite, where it has one."""
        return f"{self.flag}/--no-{self.flag[2:]}" if self.is_switch else self.flag

    @property
    def variable(self) -> str:
        return "PRISM_" + self.parameter.upper()

    @property
    def is_switch(self) -> bool:
        return self.field.type is bool and not self.holds_path

    @property
    def metavar(self) -> str:
        kind: Any = Path if self.holds_path else self.field.type
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
        if self.field.expects.startswith("one of ") and not self.holds_path:
            return self.field.expects.removeprefix("one of ").replace(", ", "|")
        return _METAVARS.get(kind, "TEXT")

    @property
    def help(self) -> str:
        """One line, with the default that is not in a config file."""
        if self.holds_path:
            return f"File that holds what {self.flag.removesuffix('-file')} takes."
        default = self.field.default
        if default is None or (self.is_switch and default == "false"):
            return self.field.help
        return f"{self.field.help} (default: {'on' if self.is_switch else default})"


def server_options(settings_type: type[ServerSettings] = ServeSettings) -> list[Option]:
    """A server's own options; what not every server has comes first."""
    particular = inspect.get_annotations(settings_type)
    return sorted(options_of(settings_type), key=lambda option: option.field.name not in particular)


def with_defaults(options: Sequence[Option], defaults: Mapping[str, str]) -> list[Option]:
    """The options with other defaults, as texts by key.

    Raises:
        InvalidArgument: there is no such option.
    """
    for key in defaults.keys() - {option.key for option in options}:
        raise InvalidArgument(f"{key} is no setting of prism {version('prism')}: leave it out")
    return [
        replace(option, field=replace(option.field, default=defaults[option.key]))
        if option.key in defaults
        else option
        for option in options
    ]


def driver_options(spec: DriverSpec) -> list[Option]:
    """A driver's options, none of which is called as another.

    Raises:
        BrokenDriver: two options would have the same name.
    """
    options = options_of(spec.settings, spec.name)
    taken = {"config"} | {option.parameter for option in server_options()}
    for option in options:
        if option.parameter in taken:
            raise BrokenDriver(
                f"the driver {spec.name!r} cannot be loaded: its setting {option.key!r} would be "
                f"{option.flag}, which is taken"
            )
        taken.add(option.parameter)
    return options


def options_of(settings_type: type[Any], driver: str = "", pattern: str = "") -> list[Option]:
    """An option for each setting, and one more for each that is secret."""
    found = []
    for field in settings_of(settings_type):
        option = Option(field, driver, pattern=pattern)
        found.append(option)
        if field.secret:
            found.append(replace(option, holds_path=True))
    return found
