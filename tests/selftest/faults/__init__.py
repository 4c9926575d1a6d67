"""Drivers that are wrong in one way each, as a real one could be.

Each is a wrapper around any driver that declares everything, and names the test
that catches it: so the suite itself is tested.
"""

from types import ModuleType

from tests.selftest.faults import (
    batches,
    compare_and_sets,
    concurrency,
    counters,
    expiry,
    lifecycle,
    scans,
    values,
    watches,
)
from tests.selftest.faults.fault import Fault, with_fault


def _in(module: ModuleType) -> list[type[Fault]]:
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Fault) and found is not Fault
    ]


FAULTS: tuple[type[Fault], ...] = tuple(
    fault
    for module in (
        values,
        expiry,
        compare_and_sets,
        batches,
        scans,
        counters,
        lifecycle,
        concurrency,
        watches,
    )
    for fault in _in(module)
)

__all__ = ["FAULTS", "Fault", "with_fault"]
