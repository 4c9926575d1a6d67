"""The server: how it is, where it listens, and what it lets in."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.sections.lifecycle import mark_of
from prism.adapters.observability.page.values import Facts, Headline, Mark, Section, Tone
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.watches import Watches
from prism.ports import State


def headline(subject: str, lifecycle: LifecycleMachine, readiness: ReadinessMonitor) -> Headline:
    """Whether all is well, and if not, why."""
    state, now = lifecycle.current, readiness.current
    if state is State.RUNNING and not now.ready:
        return Headline(subject, Mark("running, not ready", Tone.BAD), now.reason)
    return Headline(subject, mark_of(state), lifecycle.failure if state is State.FAILED else "")


def server(
    admission: Admission,
    watches: Watches | None,
    readiness: ReadinessMonitor,
    *,
    version: str,
    addresses: Sequence[str],
    uptime_s: float,
) -> Section:
    """How it is now.

    Args:
        watches: None: they are counted elsewhere.
        version: of Prism.
        addresses: where gRPC is served; none before it is.
    """
    ready = readiness.current.ready
    standing = []
    if watches is not None:
        standing.append(("Watches", f"{watches.standing:,} of {watches.max_watches:,}"))
    return Section(
        [
            Facts(
                (
                    ("Ready", Mark("yes", Tone.GOOD) if ready else Mark("no", Tone.BAD)),
                    ("Uptime", texts.duration(uptime_s)),
                    ("In flight", f"{admission.in_flight:,} of {admission.max_in_flight:,}"),
                    *standing,
                    ("Refused: not running", f"{admission.refused:,}"),
                    ("Refused: too many", f"{admission.shed:,}"),
                    ("gRPC", ", ".join(addresses) or "not served yet"),
                    ("Prism", version),
                    ("Host", socket.gethostname()),
                    ("Process", str(os.getpid())),
                    ("Python", platform.python_version()),
                )
            )
        ]
    )
