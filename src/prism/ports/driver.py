"""What makes a driver: both ports, and a description to find it by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from prism.ports.capabilities import Capability, Declaration, Profile
from prism.ports.keyvalue import KeyValue
from prism.ports.lifecycle import Lifecycle

SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)


class Driver(KeyValue, Lifecycle[SettingsT_contra], Protocol[SettingsT_contra]):
    """A backend behind the ports; it also implements each capability it declares."""

    @property
    def profile(self) -> Profile:
        """Capabilities and limits as they are at this backend, once initialized.

        Asked for with every call: the same object, until it changes.
        """
        ...


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """What an entry point of the group `prism.drivers` names.

    Attributes:
        name: after `--driver`; lower case, digits and hyphens.
        version: of the driver's package.
        summary: one line for `prism drivers`.
        settings: a frozen dataclass whose fields are made with `setting`; flags,
            environment variables and config keys are derived from it.
        factory: makes a driver and does no I/O.
        capabilities: what it can do at best.
    """

    name: str
    version: str
    summary: str
    settings: type[Any]
    factory: Callable[[], Driver[Any]]
    capabilities: Mapping[Capability, Declaration]


def setting(default: Any = dataclasses.MISSING, *, help: str, secret: bool = False) -> Any:
    """A field of a driver's settings.

    The field's type is one of str, int, float, bool, timedelta, pathlib.Path, an
    Enum or a Literal of texts, or one of these with `| None`.

    Args:
        default: used when it is not set anywhere; without one it is required.
        help: shown by `--help`.
        secret: masked wherever settings are shown, and can also be read from a
            file (`--NAME-file`).
    """
    return dataclasses.field(default=default, metadata={"help": help, "secret": secret})
