"""Sampling where the decision is not made already."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context, create_key, set_value
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

_KEY = create_key("prism-decided")

DECIDED = set_value(_KEY, True, Context())
"""In which a span that has no parent is sampled: its coin has been tossed."""


class Decided(Sampler):
    """As the parent is, else as was decided; a coin is tossed where neither can tell.

    Which is so for spans that a driver begins on its own account, outside of requests.
    """

    def __init__(self, ratio: float) -> None:
        self._undecided = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        decided = parent_context is not None and _KEY in parent_context
        sampler = _DECIDED if decided else self._undecided
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return "PrismDecided"


_DECIDED = ParentBased(ALWAYS_ON)
