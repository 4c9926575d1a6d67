"""Drivers: both ports together, and the description by which Prism finds a driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never, Protocol, TypeVar

from prism.ports.capabilities import Capability, Declaration, Profile
from prism.ports.keyvalue import KeyValue
from prism.ports.lifecycle import Lifecycle

SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)


class Driver(KeyValue, Lifecycle[SettingsT_contra], Protocol[SettingsT_contra]):
    """A backend behind the ports; it also implements each capability it declares."""

    @property
    def profile(self) -> Profile:
        """Capabilities and limits at this backend, once initialized.

        Read on every call: return the same object until it changes.
        """
        ...


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """Description of a driver; entry points of the group `prism.drivers` refer to one.

    Attributes:
        name: value of `--driver`: lower-case letters, digits and hyphens.
        version: version of the driver's package.
        summary: one line for `prism drivers`.
        settings: frozen dataclass whose fields are made with `setting`; flags, environment
            variables and config keys are derived from it.
        factory: function that creates a driver without any I/O.
        capabilities: capabilities of the driver at a backend that has everything it needs.
    """

    name: str
    version: str
    summary: str
    settings: type
    factory: Callable[[], Driver[Never]]
    capabilities: Mapping[Capability, Declaration]


def setting(default: object = dataclasses.MISSING, *, help: str, secret: bool = False) -> Any:
    """Return a field for the settings dataclass of a driver.

    The field's type is one of str, int, float, bool, timedelta, pathlib.Path, an Enum or a
    Literal of strings, or one of these with `| None`.

    Args:
        default: value when the setting is not given; without a default it is required.
        help: text for `--help`.
        secret: whether the value is masked wherever settings are shown. A secret can also be
            read from a file (`--NAME-file`).
    """
    return dataclasses.field(default=default, metadata={"help": help, "secret": secret})
