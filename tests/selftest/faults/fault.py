"""What a broken driver is, for the suite to be tested with."""

from __future__ import annotations

from typing import Any, ClassVar

from prism.ports import Driver
from prism.testing.suite.backend import OpenBackend, Wrap
from prism.testing.suite.wrapper import DriverWrapper


class Fault(DriverWrapper):
    """A driver that declares everything and has one defect.

    Attributes:
        caught_by: the test that fails for it.
        outermost: it stands around what a test puts around the driver, a gate for
            example, and not inside it.
    """

    caught_by: ClassVar[str]
    outermost: ClassVar[bool] = False


def with_fault(open_backend: OpenBackend, fault: type[Fault]) -> OpenBackend:
    """A factory of backends whose driver has the defect."""

    def open_faulty(*, wrap: Wrap | None = None, start: bool = True) -> Any:
        def both(driver: Driver[Any]) -> Driver[Any]:
            if wrap is None:
                return fault(driver)
            return fault(wrap(driver)) if fault.outermost else wrap(fault(driver))

        return open_backend(wrap=both, start=start)

    return open_faulty
