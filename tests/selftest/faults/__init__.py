"""Drivers with one defect each, as a real driver could have it.

Each wraps a driver that declares every capability, and names the test of the suite that
must catch it: so the suite itself is tested.
"""

from tests.selftest.faults import (
    cancellation,
    common_store,
    concurrency,
    endings,
    expiry,
    keys_and_values,
    mixed_writes,
    operations,
    outages,
    scans,
    transactions,
    unsuspected,
    versions,
    watch_ends,
    watches,
)
from tests.selftest.faults.fault import Fault, with_fault

FAULTS: tuple[type[Fault], ...] = tuple(
    found
    for module in (
        operations,
        common_store,
        expiry,
        keys_and_values,
        versions,
        cancellation,
        concurrency,
        endings,
        outages,
        mixed_writes,
        scans,
        transactions,
        unsuspected,
        watches,
        watch_ends,
    )
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Fault) and hasattr(found, "caught_by")
)

__all__ = ["FAULTS", "Fault", "with_fault"]
