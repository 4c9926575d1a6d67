"""What became of the server."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.history.lifecycle import KEPT, LifecycleEvent
from prism.adapters.observability.page.values import Column, Mark, Section, Table, Tone
from prism.ports import State

_TONES = {State.RUNNING: Tone.GOOD, State.STOPPED: Tone.BAD, State.FAILED: Tone.BAD}


def lifecycle_events(events: Iterable[LifecycleEvent]) -> Section:
    """States and readiness, with the reasons for them."""
    now = time.time()
    table = Table(
        caption=f"The last {KEPT} events, the latest first",
        columns=(
            ("Time (UTC)", Column.MOMENT),
            ("Event", Column.WORDS),
            ("Reason", Column.WORDS),
        ),
        rows=[(texts.moment(each.at, now), _mark(each.what), each.why) for each in events],
        empty="There were none.",
    )
    return Section([table])


def mark_of(state: State) -> Mark:
    """The state; those that are neither good nor bad are on the way somewhere."""
    return Mark(state, _TONES.get(state, Tone.CAUTION))


def _mark(what: State | bool) -> Mark:
    if isinstance(what, State):
        return mark_of(what)
    return Mark("ready", Tone.GOOD) if what else Mark("not ready", Tone.CAUTION)
