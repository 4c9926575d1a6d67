"""Names of each setting: as a flag, in the environment, and in a config file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from prism.bootstrap.discovery import BrokenDriver
from prism.bootstrap.settings import PATTERN, ServerSettings, ServeSettings
from prism.domain.settings import SettingField, settings_of
from prism.ports import DriverSpec, InvalidArgument
from prism.version import VERSION

_METAVARS: dict[object, str] = {int: "NUMBER", float: "NUMBER", timedelta: "DURATION", Path: "PATH"}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as flag, environment variable and config key.

    Attributes:
        driver: driver that the setting belongs to; empty: a setting of the server.
        holds_path: whether the value is the path of a file with the secret.
        pattern: pattern that the driver belongs to; empty: not in a proxy.
        group: heading of a server's setting in help; empty: none.
    """

    field: SettingField
    driver: str = ""
    holds_path: bool = False
    pattern: str = ""
    group: str = ""

    @property
    def key(self) -> str:
        """Key in its section of a config file."""
        return f"{self.field.name}_file" if self.holds_path else self.field.name

    @property
    def path(self) -> str:
        """Key in a config file, with its section."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def section(self) -> str:
        """Section of a config file; empty: the top level."""
        if self.pattern:
            return f"patterns.{self.pattern}"
        return f"drivers.{self.driver}" if self.driver else ""

    @property
    def heading(self) -> str:
        """Heading in help; empty: none."""
        if self.pattern:
            return f"Pattern {self.pattern} (driver {self.driver})"
        return f"Driver {self.driver}" if self.driver else self.group

    @property
    def hidden(self) -> bool:
        """Whether help leaves the option out: a proxy sets it, not a person."""
        return self.group == PATTERN

    @property
    def parameter(self) -> str:
        """Name as a Python identifier, unique among all options."""
        owner = self.pattern or self.driver
        return f"{owner}_{self.key}".replace("-", "_") if owner else self.key

    @property
    def flag(self) -> str:
        return "--" + self.parameter.replace("_", "-")

    @property
    def declaration(self) -> str:
        """Flag, with that which switches it off if there is one."""
        return f"{self.flag}/--no-{self.flag[2:]}" if self.is_switch else self.flag

    @property
    def variable(self) -> str:
        return "PRISM_" + self.parameter.upper()

    @property
    def is_switch(self) -> bool:
        return self.field.type is bool and not self.holds_path

    @property
    def choices(self) -> tuple[str, ...]:
        """Valid texts, if they can be listed."""
        expects = self.field.expects
        if self.holds_path or not expects.startswith("one of "):
            return ()
        return tuple(expects.removeprefix("one of ").split(", "))

    @property
    def metavar(self) -> str:
        if self.holds_path:
            return "PATH"
        return "|".join(self.choices) or _METAVARS.get(self.field.type, "TEXT")

    @property
    def help(self) -> str:
        """One line, with the default value."""
        if self.holds_path:
            return f"File with the value of {self.flag.removesuffix('-file')}."
        default = self.field.default
        if default is None or (self.is_switch and default == "false"):
            return self.field.help
        return f"{self.field.help} (default: {'on' if self.is_switch else default})"

    def arguments(self, text: str) -> tuple[str, ...]:
        """Return the command-line arguments that give the option this value."""
        if not self.is_switch:
            return (self.flag, text)
        return (self.flag if text == "true" else f"--no-{self.flag[2:]}",)


def server_options(settings_type: type[ServerSettings] = ServeSettings) -> list[Option]:
    """Return the options of a server itself, in the order of its groups."""
    options = options_of(settings_type)
    return [
        replace(option, group=group)
        for group, names in settings_type.GROUPS.items()
        for name in names
        for option in options
        if option.field.name == name
    ]


def with_defaults(options: Sequence[Option], defaults: Mapping[str, str]) -> list[Option]:
    """Return the options with other defaults.

    Args:
        defaults: texts by key.

    Raises:
        InvalidArgument: a key is not an option.
    """
    for key in defaults.keys() - {option.key for option in options}:
        raise InvalidArgument(f"{key} is not a setting of prism {VERSION}: leave it out")
    return [
        replace(option, field=replace(option.field, default=defaults[option.key]))
        if option.key in defaults
        else option
        for option in options
    ]


def driver_options(spec: DriverSpec) -> list[Option]:
    """Return the options of a driver.

    Raises:
        BrokenDriver: two options would have the same name.
    """
    options = options_of(spec.settings, spec.name)
    taken = {"config"} | {option.parameter for option in server_options()}
    for option in options:
        if option.parameter in taken:
            raise BrokenDriver(
                f"the driver {spec.name!r} cannot be loaded: the flag {option.flag} of its setting "
                f"{option.key!r} is already taken"
            )
        taken.add(option.parameter)
    return options


def managed_options(options: Sequence[Option]) -> list[Option]:
    """Return the options of a server that a proxy commands.

    Ports are free ones by default, and the proxy gives the required settings of the driver.
    """
    return [_managed(option) for option in options]


def _managed(option: Option) -> Option:
    field = option.field
    if option.driver:
        return replace(option, field=replace(field, required=False))
    if field.name in ("grpc_port", "metrics_port"):
        return replace(option, field=replace(field, default="0"))
    return option


def options_of(settings_type: type[object], driver: str = "", pattern: str = "") -> list[Option]:
    """Return an option for each setting, and another for the file of each secret."""
    found = []
    for field in settings_of(settings_type):
        option = Option(field, driver, pattern=pattern)
        found.append(option)
        if field.secret:
            found.append(replace(option, holds_path=True))
    return found
