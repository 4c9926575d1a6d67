"""Hides secrets in what a driver says of itself, before anybody is told.

That its messages hold none is asked of every driver, and libraries that it calls
do not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from prism.ports import Health, PrismError

Mask: TypeAlias = Callable[[str], str]
"""From a text to the same without its secrets; `str`, where none are known."""


def mask_health(health: Health, mask: Mask) -> Health:
    """The same health, in words that may be told."""
    details = {name: mask(str(text)) for name, text in health.details.items()}
    return Health(health.status, mask(health.message), details)


def mask_error(error: PrismError, mask: Mask) -> None:
    """Hide them in the error itself: whoever raised it goes on raising it."""
    error.message = mask(error.message)
    error.args = (error.message,)
