"""Base class of the broken drivers, and the factory of backends that use one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from prism.adapters.memstore import DRIVER
from prism.ports import Driver
from prism.testing import Backend, DriverWrapper, OpenBackend, Wrap
from prism.testing.levels import in_process
from tests.selftest.toy_server import ToyServer, target


class Fault(DriverWrapper):
    """Driver that declares every capability and has one defect.

    Attributes:
        caught_by: name of the test that must fail.
        outermost: whether the fault wraps what a test puts around the driver (a blocker of
            operations, for example) instead of lying inside.
        with_server: whether the driver is that of a server that tests can pause and kill.
    """

    caught_by: ClassVar[str]
    outermost: ClassVar[bool] = False
    with_server: ClassVar[bool] = False


def with_fault(fault: type[Fault]) -> OpenBackend:
    """Return a factory of backends with the fault around the driver, in process."""
    open_backend = target(ToyServer()) if fault.with_server else in_process(DRIVER)

    def open_faulty(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        def wrap_both(driver: Driver[Any]) -> Driver[Any]:
            if wrap is None:
                return fault(driver)
            return fault(wrap(driver)) if fault.outermost else wrap(fault(driver))

        return open_backend(wrap=wrap_both, start=start)

    return open_faulty
