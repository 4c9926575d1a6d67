from __future__ import annotations

from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.exposition import Metrics
from prism.adapters.observability.metrics.patterns import PatternCollector
from prism.adapters.observability.page.page import Table
from prism.adapters.observability.page.sections import pattern_events_section, patterns_section
from prism.domain.patterns.supervisor import NoSettings, Supervisor
from tests.unit.patterns.fakes import FakePorts, never_registers


def lines_of(collector: Collector) -> set[str]:
    _, text = Metrics([collector]).render("")
    return {line for line in text.decode().splitlines() if not line.startswith("#")}


async def test_every_pattern_has_series_from_the_start(patterns: Supervisor) -> None:
    lines = lines_of(PatternCollector(patterns, "1.0"))
    assert 'prism_pattern_up{pattern="a"} 0.0' in lines
    assert 'backend_driver_info{driver="proxy",version="1.0"} 1.0' in lines
    assert 'prism_pattern_state{pattern="b",state="stopped"} 1.0' in lines
    assert 'prism_pattern_requests_total{operation="get",pattern="b"} 0.0' in lines


async def test_operations_and_errors_are_counted_by_pattern(patterns: Supervisor) -> None:
    await patterns.start()
    try:
        gateway = patterns.find("a").gateway
        assert gateway is not None
        await gateway.set("key", b"value")
        lines = lines_of(PatternCollector(patterns, "1.0"))
        assert 'prism_pattern_up{pattern="a"} 1.0' in lines
        assert 'prism_pattern_requests_total{operation="set",pattern="a"} 1.0' in lines
        assert 'prism_pattern_requests_total{operation="set",pattern="b"} 0.0' in lines
        await patterns.find("a").restart()
        lines = lines_of(PatternCollector(patterns, "1.0"))
        assert 'prism_pattern_requests_total{operation="set",pattern="a"} 1.0' in lines
        assert 'prism_pattern_restarts_total{pattern="a"} 1.0' in lines
    finally:
        await patterns.stop()


async def test_page_shows_patterns_in_every_state(patterns: Supervisor, fakes: FakePorts) -> None:
    def rows() -> list[list[str]]:
        (table,) = patterns_section(patterns).blocks
        assert isinstance(table, Table)
        return [[str(getattr(cell, "text", cell)) for cell in row] for row in table.rows]

    assert [row[2] for row in rows()] == ["stopped", "stopped"]
    fakes.next_launches.append(never_registers)
    await patterns.initialize(NoSettings())
    for pattern in patterns:
        pattern.begin()
    await patterns.find("b").settled()
    try:
        assert [row[2] for row in rows()] == ["launching", "serving"]
        (events,) = pattern_events_section(patterns.journal).blocks
        assert isinstance(events, Table)
        assert len(events.rows) == len(patterns.journal.events())
    finally:
        await patterns.stop()
