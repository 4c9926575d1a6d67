"""The sections of the page."""

from __future__ import annotations

import math

import pytest
from google.rpc import code_pb2

from prism.adapters.grpc.calls import UnaryCall
from prism.adapters.memstore import Memstore
from prism.adapters.observability.formatting import duration, moment
from prism.adapters.observability.page.history import Counts, OperationSamples, RecentFailures
from prism.adapters.observability.page.page import Badge, Chart, Facts, Section, Table
from prism.adapters.observability.page.sections import (
    capabilities_section,
    failures_section,
    lifecycle_section,
    operations_section,
    percentile_s,
)
from prism.bootstrap.configuration import Given, Source, choose, resolve
from prism.bootstrap.container import Container
from prism.domain.redaction import Redactor
from prism.domain.tallies import operation_tallies
from prism.ports import BackendUnavailable, Entry, InvalidArgument
from tests.unit.observability.conftest import Build

GET = "/prism.v1.KeyValueService/Get"
MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def rows_of(section: Section) -> list[list[str]]:
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    return [[each.text if isinstance(each, Badge) else each for each in row] for row in table.rows]


def facts_of(section: Section) -> dict[str, str]:
    (facts,) = (block for block in section.blocks if isinstance(block, Facts))
    return {name: each.text if isinstance(each, Badge) else each for name, each in facts.pairs}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (3600, "1 h"), (3661, "1 h 1 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_moment_has_a_date_unless_it_is_today() -> None:
    now = 1_700_000_000.0  # 2023-11-14 22:13:20
    assert moment(now - 1000, now) == "21:56:40 (16 min 40 s ago)"
    assert moment(now - 86_400, now) == "2023-11-13 22:13:20 (1 d ago)"


@pytest.mark.parametrize(
    ("ended", "percent", "bound_s"),
    [
        ((10, 0, 0, 0, 0, 0, 0, 0, 0, 0), 99, 0.001),
        ((50, 50, 0, 0, 0, 0, 0, 0, 0, 0), 50, 0.001),
        ((50, 50, 0, 0, 0, 0, 0, 0, 0, 0), 51, 0.005),
        ((99, 0, 0, 0, 0, 0, 0, 0, 0, 1), 99, 0.001),
        ((98, 0, 0, 0, 0, 0, 0, 0, 0, 2), 99, math.inf),
    ],
)
def test_a_percentile_is_the_upper_bound_of_its_bucket(
    ended: tuple[int, ...], percent: int, bound_s: float
) -> None:
    assert percentile_s(Counts(ended, 0), percent) == bound_s


def test_rates_cover_the_last_minute_and_totals_the_time_since_the_start() -> None:
    clock, tallies = Clock(), operation_tallies()
    samples = OperationSamples(tallies.items(), clock)
    for _ in range(1000):
        tallies["get"].durations.add(7 * MS)
    for _ in range(100):
        clock.now += 2
        samples.take()
    for _ in range(30):
        tallies["get"].durations.add(2 * MS)
    tallies["get"].failed[InvalidArgument] += 1
    section = operations_section(samples)
    assert rows_of(section) == [["get", "0.5", *["≤ 5 ms"] * 3, "1", "1,030", "1"]]
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert "58 s" in table.caption


def test_before_the_first_sample_rates_cover_the_time_since_the_start() -> None:
    clock, tallies = Clock(), operation_tallies()
    samples = OperationSamples(tallies.items(), clock)
    clock.now += 4
    for _ in range(400):
        tallies["set"].durations.add(20_000 * MS)
    assert rows_of(operations_section(samples)) == [
        ["set", "100", *["> 10 s"] * 3, "0", "400", "0"]
    ]


def test_a_server_without_calls_shows_no_operations() -> None:
    section = operations_section(OperationSamples(operation_tallies().items(), Clock()))
    assert rows_of(section) == []
    assert len(section.blocks) == 1


def test_the_chart_ends_with_the_latest_rate_and_has_a_bounded_length() -> None:
    clock, tallies = Clock(), operation_tallies()
    samples = OperationSamples(tallies.items(), clock)
    for rate in range(200):
        for _ in range(rate):
            tallies["get"].durations.add(MS)
        clock.now += 2
        samples.take()
    (chart,) = (block for block in operations_section(samples).blocks if isinstance(block, Chart))
    assert len(chart.heights) == chart.capacity
    assert chart.heights[-1] == max(chart.heights) == 1
    assert list(chart.heights) == sorted(chart.heights)


def test_failures_of_one_kind_are_one_row_and_hide_no_other_kind() -> None:
    failures = RecentFailures()
    failures.failed(GET, code_pb2.INVALID_ARGUMENT, "wrong")
    for _ in range(1000):
        failures.failed(GET, code_pb2.UNAVAILABLE, "gone")
    gone, wrong = rows_of(failures_section(failures))
    assert gone[1:] == ["KeyValueService/Get", "UNAVAILABLE", "1,000", "gone"]
    assert wrong[1:] == ["KeyValueService/Get", "INVALID_ARGUMENT", "1", "wrong"]


def test_the_latest_kinds_of_failure_are_kept() -> None:
    failures = RecentFailures()
    for number in range(1000):
        failures.failed(f"/Service/Method{number}", code_pb2.INVALID_ARGUMENT, "wrong")
        failures.failed(GET, code_pb2.UNAVAILABLE, "gone")
    rows = rows_of(failures_section(failures))
    assert len(rows) == 20
    assert rows[0][3:] == ["1,000", "gone"]
    assert rows[1][1] == "/Service/Method999"


def test_many_messages_of_one_code_displace_no_other_failure() -> None:
    failures = RecentFailures()
    failures.failed(GET, code_pb2.UNAVAILABLE, "gone")
    for number in range(1000):
        failures.failed(GET, code_pb2.INVALID_ARGUMENT, f"wrong {number}")
    *wrong, gone = rows_of(failures_section(failures))
    assert gone[-1] == "gone"
    assert [row[-1] for row in wrong] == [f"wrong {number}" for number in range(999, 994, -1)]


async def test_a_failed_request_is_shown(build: Build) -> None:
    class Quoting(Memstore):
        async def get(self, key: str) -> Entry | None:
            raise BackendUnavailable(f"cannot find {key}")

    assembly = build(Quoting())
    await assembly.run()
    call = assembly.container.common.services().calls[GET]
    assert isinstance(call, UnaryCall)
    with pytest.raises(Exception, match="cannot find"):
        await call(b"\x0a\x03<b>", Context())
    page = assembly.container.page().render().decode()
    assert "cannot find &lt;b&gt;" in page
    assert "UNAVAILABLE" in page


class Context:
    connection = "c"
    pattern = ""
    authorization = None
    certificate = ""
    timeout_s = None

    def metadata(self, name: str) -> str | None:
        return None


async def test_a_state_is_listed_before_the_readiness_that_follows_from_it(build: Build) -> None:
    assembly = build()
    events = assembly.container.common.history().events
    await assembly.run()
    assembly.container.readiness().withdraw("shutting down")
    await assembly.lifecycle.drain()
    changes = [(change, reason) for _, change, reason in rows_of(lifecycle_section(events))]
    assert changes == [
        ("draining", ""),
        ("not ready", "shutting down"),
        ("ready", ""),
        ("running", ""),
        ("initialized", ""),
        ("created", ""),
    ]


async def test_an_event_and_the_headline_show_the_reason_of_a_failure(build: Build) -> None:
    assembly = build()
    page, events = assembly.container.page(), assembly.container.common.history().events
    with pytest.raises(InvalidArgument):
        await assembly.lifecycle.initialize({"max_keys": "many"})
    (_, state, reason), *_ = rows_of(lifecycle_section(events))
    assert state == "failed"
    assert reason == "initialize failed: max_keys is 'many'; it must be a whole number"
    assert "max_keys is &#39;many&#39;" in page.render().decode()


async def test_capabilities_and_limits_are_listed(build: Build) -> None:
    assembly = build()
    await assembly.run()
    section = capabilities_section(assembly.gateway)
    support = {row[0]: row[1] for row in rows_of(section)}
    assert support["watch"] == "native"
    assert facts_of(section)["Largest value"] == "1 MiB"


def configured(**texts: str) -> Container:
    given = {name: Given(text, Source.FLAG) for name, text in texts.items()}
    configuration = resolve(choose("redis", None), given)
    return Container(configuration=configuration, redactor=Redactor(configuration.secrets))


async def test_an_initialize_command_replaces_the_settings_shown() -> None:
    container = configured(redis_url="redis://:pass-planted@127.0.0.1:1", redis_timeout="7s")
    page = container.page()
    before = page.render().decode()
    assert "flag --redis-timeout" in before
    settings = {"url": "redis://:word-planted@127.0.0.1:1", "password": "Pa55", "connections": "3"}
    with pytest.raises(BackendUnavailable):
        await container.lifecycle().initialize(settings)
    after = page.render().decode()
    assert "Initialize command" in after
    assert "flag --redis-timeout" not in after
    assert "7s" not in after
    for planted in ("pass-planted", "word-planted", "Pa55"):
        assert planted not in before + after
    await container.lifecycle().stop()
