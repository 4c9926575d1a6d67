"""Base class of the broken drivers, and the factory of backends that use one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from prism.ports import Driver
from prism.testing import Backend, DriverWrapper, OpenBackend, Wrap


class Fault(DriverWrapper):
    """Driver that declares every capability and has one defect.

    Attributes:
        caught_by: name of the test that must fail.
        outermost: whether the fault wraps what a test puts around the driver (a blocker of
            operations, for example) instead of lying inside.
    """

    caught_by: ClassVar[str]
    outermost: ClassVar[bool] = False


def with_fault(open_backend: OpenBackend, fault: type[Fault]) -> OpenBackend:
    """Return a factory that opens the same backends with the fault around the driver."""

    def open_faulty(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        def wrap_both(driver: Driver[Any]) -> Driver[Any]:
            if wrap is None:
                return fault(driver)
            return fault(wrap(driver)) if fault.outermost else wrap(fault(driver))

        return open_backend(wrap=wrap_both, start=start)

    return open_faulty
