"""Gives memory back to the system after a burst.

Python's collector counts objects, not bytes: some dozen cycles that hold a payload of
50 MB each are not worth a collection to it. And glibc keeps what is freed.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_GROWTH = 1.25
_GROWTH_BYTES = 64 << 20
_FREE_BYTES = 32 << 20
_CHANGE_BYTES = 16 << 20

_TRIM_DELAYS_S = (2, 4, 8, 16, 32)
"""Times from growth to the attempts to return memory: it may be in use at first."""

_PAUSE_FACTOR = 50
"""Time without another collection after one that found little, as a multiple of its duration."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class MemoryKeeper:
    """Collects garbage when memory has grown, and returns freed memory to the system.

    Data that grows costs a collection for each quarter of growth; a server whose memory
    stays the same costs one look a second. A collection holds up every call, so one that
    finds little is not repeated soon: the memory is in use.
    """

    def __init__(self) -> None:
        self._libc = _glibc()
        self._collected_at = resident_bytes()
        self._next_collection_s = 0.0
        self._trimmed_at = self._collected_at
        self._free_at_trim = 0
        self._lowest = self._collected_at
        self._high_looks = 0

    async def run(self) -> None:
        """Look at intervals, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self._look()

    def _look(self) -> None:
        resident = resident_bytes()
        limit = max(self._collected_at * _GROWTH, self._collected_at + _GROWTH_BYTES)
        if resident > limit and time.monotonic() >= self._next_collection_s:
            self._collect(resident)
            return
        self._collected_at = min(self._collected_at, resident)
        self._trim_after_growth(resident)
        free = self._free_bytes()
        # Returned memory still counts as free, so the change since the last time matters too.
        if free > _FREE_BYTES and (
            free > self._free_at_trim + _CHANGE_BYTES or resident > self._trimmed_at + _CHANGE_BYTES
        ):
            self._trim()
        self._trimmed_at = min(self._trimmed_at, resident)
        self._free_at_trim = min(self._free_at_trim, free)

    def _collect(self, resident: int) -> None:
        began_s = time.monotonic()
        gc.collect()
        ended_s = time.monotonic()
        self._trim()
        self._collected_at = resident_bytes()
        if self._collected_at > resident - _CHANGE_BYTES:
            self._next_collection_s = ended_s + _PAUSE_FACTOR * (ended_s - began_s)
        log.debug("collected garbage, for memory had grown to %d MiB", resident >> 20)

    def _trim_after_growth(self, resident: int) -> None:
        """Trim some seconds after memory has grown.

        The allocator's number of free bytes leaves out the memory of other threads.
        """
        if resident <= self._lowest + _CHANGE_BYTES:
            self._lowest = min(self._lowest, resident)
            self._high_looks = 0
            return
        self._high_looks += 1
        if self._high_looks in _TRIM_DELAYS_S:
            self._trim()
        elif self._high_looks > _TRIM_DELAYS_S[-1]:
            # It is in use.
            self._lowest, self._high_looks = resident, 0

    def _free_bytes(self) -> int:
        """Return the bytes that the allocator holds and nobody uses."""
        return 0 if self._libc is None else int(self._libc.mallinfo2().fordblks)

    def _trim(self) -> None:
        if self._libc is not None:
            self._libc.malloc_trim(0)
            self._trimmed_at = resident_bytes()
            self._free_at_trim = self._free_bytes()


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES


class _Mallinfo2(ctypes.Structure):
    """https://man7.org/linux/man-pages/man3/mallinfo.3.html"""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _glibc() -> ctypes.CDLL | None:
    """Return the C library where it has these functions: glibc 2.33 and later."""
    libc = ctypes.CDLL(None)
    try:
        libc.mallinfo2.restype = _Mallinfo2
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
    except AttributeError:
        return None
    return libc
