"""`serve_driver`: the defaults that it takes, and what overrides them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prism import serve_driver
from prism.adapters.memstore import Memstore
from prism.bootstrap import main
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.options import server_options, with_defaults
from prism.ports import InvalidArgument, setting


@dataclass(frozen=True, slots=True)
class OutsideSettings:
    """One setting."""

    url: str = setting("outside://here", help="Where it is.")


class Outside(Memstore):
    async def initialize(self, settings: OutsideSettings) -> None:  # type: ignore[override]
        """Open nothing."""


Serve = Callable[..., Configuration]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Call `serve_driver` in an empty folder; return the configuration that it serves."""
    monkeypatch.chdir(tmp_path)
    seen: list[Configuration] = []

    def record(configuration: Configuration) -> int:
        seen.append(configuration)
        return 0

    monkeypatch.setattr(main, "run", record)

    def call(
        *flags: str, factory: Any = Outside, env: dict[str, str] | None = None, **defaults: Any
    ) -> Configuration:
        monkeypatch.setattr(sys, "argv", ["outside", *flags])
        for name, text in (env or {}).items():
            monkeypatch.setenv(name, text)
        with pytest.raises(SystemExit) as ended:
            serve_driver(factory, name="outside", version="7", **defaults)
        assert ended.value.code == 0
        return seen.pop()

    return call


def refusal(capsys: pytest.CaptureFixture[str], *flags: str, **defaults: Any) -> tuple[Any, str]:
    """Return the exit status and stderr."""
    sys.argv[1:] = flags
    with pytest.raises(SystemExit) as ended:
        serve_driver(defaults.pop("factory", Outside), name="outside", version="7", **defaults)
    return ended.value.code, capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["outside"])


def test_signature_has_the_documented_defaults() -> None:
    parameters = inspect.signature(serve_driver).parameters.values()
    assert {
        p.name: p.default for p in parameters if p.name not in ("factory", "name", "version")
    } == {
        "grpc_port": 0,
        "metrics_port": 9091,
        "config": "config.yaml",
        "tracing": False,
        "trace_exporter": "stdout",
        "settings": None,
    }


def test_without_flags_the_defaults_are_used(serve: Serve) -> None:
    configuration = serve()
    settings = configuration.settings
    assert (settings.driver, settings.grpc_port, settings.metrics_port) == ("outside", 0, 9091)
    assert configuration.spec.factory is Outside
    assert configuration.driver_settings == {}


@pytest.mark.parametrize(
    ("flags", "env", "file", "expected"),
    [
        ((), {}, "", 1001),
        ((), {}, "grpc_port: 1002", 1002),
        ((), {"PRISM_GRPC_PORT": "1003"}, "grpc_port: 1002", 1003),
        (("--grpc-port", "1004"), {"PRISM_GRPC_PORT": "1003"}, "grpc_port: 1002", 1004),
    ],
)
def test_flags_override_environment_file_and_the_defaults_of_main(
    serve: Serve,
    tmp_path: Path,
    flags: tuple[str, ...],
    env: dict[str, str],
    file: str,
    expected: int,
) -> None:
    (tmp_path / "config.yaml").write_text(file)
    assert serve(*flags, env=env, grpc_port=1001).settings.grpc_port == expected


def test_main_turns_tracing_on_and_flags_turn_it_off(serve: Serve) -> None:
    settings = serve(tracing=True, trace_exporter="jaeger").settings
    assert (settings.enable_tracing, settings.trace_exporter) == (True, "jaeger")
    assert serve().settings.enable_tracing is False
    assert serve("--no-enable-tracing", tracing=True).settings.enable_tracing is False


def test_unknown_exporter_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = refusal(capsys, trace_exporter="zipkin")
    assert status == 2
    assert "trace_exporter" in said
    assert "stdout, otlp" in said


def test_settings_are_found_by_the_annotation_of_initialize(serve: Serve) -> None:
    configuration = serve("--outside-url", "outside://there")
    assert configuration.spec.settings is OutsideSettings
    assert configuration.driver_settings == {"url": "outside://there"}


def test_settings_are_found_by_the_return_annotation_of_a_function(serve: Serve) -> None:
    def make() -> Outside:
        return Outside()

    assert serve(factory=make).spec.settings is OutsideSettings


def test_settings_that_cannot_be_found_must_be_passed(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = refusal(capsys, factory=lambda: Outside())
    assert status == 1
    assert "pass settings=" in said


def test_settings_can_be_passed(serve: Serve) -> None:
    configuration = serve(factory=lambda: Outside(), settings=OutsideSettings)
    assert configuration.spec.settings is OutsideSettings


def test_config_file_of_main_may_be_absent(serve: Serve) -> None:
    assert serve(config="other.yaml").file is None


def test_config_file_of_main_is_read(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("grpc_port: 1")
    (tmp_path / "other.yaml").write_text("drivers: {outside: {url: 'outside://file'}}")
    configuration = serve(config="other.yaml")
    assert configuration.driver_settings == {"url": "outside://file"}
    assert configuration.settings.grpc_port == 0


def test_named_config_file_must_exist(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = refusal(capsys, "--config", "absent.yaml")
    assert status == 2
    assert "cannot read the config file absent.yaml" in said


def test_other_driver_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = refusal(capsys, "--driver", "memstore")
    assert status == 2
    assert "this program serves only 'outside'" in said


def test_help_shows_the_defaults_of_main(capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv[1:] = ["--help"]
    with pytest.raises(SystemExit):
        serve_driver(Outside, name="outside", version="7", grpc_port=1234, config="other.yaml")
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: 1234)" in shown
    assert "(default: other.yaml in this folder" in shown
    assert "--outside-url" in shown


def test_version_names_the_driver_and_prism(capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv[1:] = ["--version"]
    with pytest.raises(SystemExit):
        serve_driver(Outside, name="outside", version="7")
    assert capsys.readouterr().out.startswith("outside 7, prism ")


def test_default_of_an_unknown_setting_is_rejected() -> None:
    with pytest.raises(InvalidArgument, match="enable_flying is not a setting of prism"):
        with_defaults(server_options(), {"enable_flying": "true"})
