"""The backend: how it fares, and what it can do."""

from __future__ import annotations

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.values import (
    Column,
    Facts,
    Mark,
    Section,
    Table,
    Text,
    Tone,
)
from prism.domain.gateway import Gateway
from prism.domain.readiness import ReadinessMonitor
from prism.ports import Capability, Declaration, HealthStatus, Profile, VersionKind

_TONES = {
    HealthStatus.HEALTHY: Tone.GOOD,
    HealthStatus.DEGRADED: Tone.CAUTION,
    HealthStatus.UNHEALTHY: Tone.BAD,
}
_VERSIONS = {
    VersionKind.REVISION: "Versions are revisions: while they are equal, nothing was written.",
    VersionKind.DIGEST: "Versions are digests: while they are equal, so are the values.",
}


def backend(readiness: ReadinessMonitor) -> Section:
    """What the driver told of its backend at the last check."""
    told = readiness.health
    if told is None:
        return Section([], "Checked every two seconds, from when the driver runs.")
    status = Mark(told.status, _TONES[told.status])
    pairs: list[tuple[str, Text]] = [("Health", status)]
    for name, text in told.details.items():
        pairs.append((name.replace("_", " ").capitalize(), _number(text)))
    return Section([Facts(pairs)], f"As of the last check: {told.message}.")


def capabilities(gateway: Gateway) -> Section:
    """What the driver declares, and the limits that hold."""
    profile = gateway.profile
    limits = profile.limits
    table = Table(
        caption="What callers may ask for beyond get, set, delete and exists",
        columns=(
            ("Capability", Column.NAME),
            ("Support", Column.WORDS),
            ("Notes", Column.WORDS),
        ),
        rows=[_row(each, profile) for each in Capability],
        empty="",
    )
    facts = Facts(
        (
            ("Value at most", _bytes(limits.max_value_bytes)),
            ("Key at most", _bytes(limits.max_key_bytes)),
            ("Batch at most", f"{limits.max_batch_items:,} items"),
            ("Batch and reply at most", _bytes(limits.max_batch_bytes)),
            ("Page at most", f"{limits.max_page_size:,} keys"),
        )
    )
    return Section([table, facts], _VERSIONS[profile.version_kind])


def _row(capability: Capability, profile: Profile) -> tuple[Text, ...]:
    declared = profile.capabilities.get(capability)
    if declared is None:
        hint = profile.hints.get(capability, "")
        return (capability, Mark("none", Tone.CAUTION), hint)
    return (capability, Mark(declared.support, Tone.GOOD), " ".join(_notes(capability, declared)))


def _notes(capability: Capability, declared: Declaration) -> list[str]:
    notes = []
    if declared.granularity:
        notes.append(f"In steps of {texts.latency(declared.granularity.total_seconds())}.")
    if declared.clock_error:
        within = texts.latency(declared.clock_error.total_seconds())
        notes.append(f"The backend's clock is known to within {within}.")
    if capability is Capability.WATCH:
        notes.append("Puts come with their values." if declared.event_values else "Keys only.")
        delay = declared.event_delay
        bound = (
            "sooner or later" if delay is None else f"within {texts.latency(delay.total_seconds())}"
        )
        notes.append(f"Expiries are told {bound}.")
    return [*notes, declared.notes]


def _number(text: str) -> str:
    return f"{int(text):,}" if text.isdecimal() else text


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:,} bytes"
