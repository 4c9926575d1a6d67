"""Options of a server whose driver a proxy configures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prism.bootstrap.options import Option

_FREE_PORT = "0"


def managed_options(options: Sequence[Option]) -> list[Option]:
    """Return the options with free ports as defaults, and no required driver settings."""
    return [_managed(option) for option in options]


def _managed(option: Option) -> Option:
    field = option.field
    if option.driver:
        return replace(option, field=replace(field, required=False))
    if field.name in ("grpc_port", "metrics_port"):
        return replace(option, field=replace(field, default=_FREE_PORT))
    return option
