"""The standard OTEL_ variables, which options override."""

from __future__ import annotations

import pytest

from prism.adapters.observability.tracing.environment import (
    exporter_of,
    is_disabled,
    ratio_of,
    secrets_in,
)


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        (None, None, "stdout"),
        (None, "otlp", "otlp"),
        (None, "console", "stdout"),
        (None, "None", "none"),
        ("jaeger", "console", "otlp"),
        ("otlp", "none", "otlp"),
        ("stdout", "otlp", "stdout"),
    ],
)
def test_an_option_overrides_the_variable(
    option: str | None, variable: str | None, expected: str
) -> None:
    environ = {} if variable is None else {"OTEL_TRACES_EXPORTER": variable}
    assert exporter_of(option, environ) == expected


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("", "", 1.0),
        ("always_on", "", 1.0),
        ("parentbased_always_off", "", 0.0),
        ("traceidratio", "0.25", 0.25),
        ("parentbased_traceidratio", "", 1.0),
    ],
)
def test_the_ratio_follows_the_standard_sampler(
    sampler: str, argument: str, expected: float
) -> None:
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert ratio_of(None, environ) == expected
    assert ratio_of(0.5, environ) == 0.5


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_unknown_values_are_ignored_with_a_warning(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert ratio_of(None, environ) == 1.0
    assert exporter_of(None, environ) == "stdout"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "no effect" in record.getMessage()


def test_the_sdk_can_be_disabled() -> None:
    assert is_disabled({"OTEL_SDK_DISABLED": "True"})
    assert not is_disabled({})


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ("", {""}),
        ("authorization=Bearer%20t0ken", {"Bearer%20t0ken", "Bearer t0ken"}),
        ("a=one, b = t=wo ,broken", {"one", "t=wo", "broken"}),
    ],
)
def test_header_values_for_a_collector_are_secrets(headers: str, secrets: set[str]) -> None:
    found = set(secrets_in({"OTEL_EXPORTER_OTLP_TRACES_HEADERS": headers}))
    assert found - {""} == secrets - {""}
