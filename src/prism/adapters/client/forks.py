"""Forked processes: a child leaves the connections of its parent untouched.

A child has the descriptors of its parent. One that wrote to a connection would break it, and one
that kept the descriptor would keep the connection open after its parent has gone.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something with a descriptor that a child must not use."""

    @property
    def descriptor(self) -> int:
        """Number of the descriptor; negative: none is open."""
        ...


_open: WeakSet[Inherited] = WeakSet()
_generation = 0
"""Number of forks between this process and the one that imported this module."""


class PerProcess(ABC):
    """Object that begins again in a forked child, at its first use there."""

    _begun_in = -1

    def _begin_in_process(self) -> bool:
        """Begin again if this process was forked since the last call; return whether it was."""
        if self._begun_in == _generation:
            return False
        self._begun_in = _generation
        self._begin()
        return True

    @abstractmethod
    def _begin(self) -> None:
        """Set the state that belongs to one process."""


def leave_to_parent(inherited: Inherited) -> None:
    """Close the descriptor in every child that is forked from now on, while the object lives."""
    _open.add(inherited)


def _begin_child() -> None:
    global _generation
    _generation += 1
    descriptors = [each.descriptor for each in tuple(_open)]
    _open.clear()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        if descriptor >= 0:
            # The number stays taken, because the objects of the parent's loop, of which the child
            # has copies, close it when they are collected.
            with suppress(OSError):
                os.dup2(null, descriptor, inheritable=False)
    os.close(null)


os.register_at_fork(after_in_child=_begin_child)
