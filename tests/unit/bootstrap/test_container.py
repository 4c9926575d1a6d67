from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from prism.adapters.memstore import DRIVER, Memstore
from prism.bootstrap.configuration import Configuration, Given, Source
from prism.bootstrap.container import Container
from prism.bootstrap.options import server_options
from prism.bootstrap.proxy import configuration as proxy_configuration
from prism.bootstrap.proxy.container import ProxyContainer
from prism.bootstrap.proxy.launching import launch_options
from prism.bootstrap.proxy.server import SocketDir
from prism.bootstrap.proxy.settings import ProxySettings
from prism.bootstrap.settings import ServerSettings, ServeSettings
from prism.domain.redaction import Redactor
from prism.domain.settings import settings_of


@pytest.fixture
def make() -> Callable[..., Container]:
    def build(**settings: Any) -> Container:
        return Container(configuration=Configuration(ServeSettings(**settings), DRIVER, {}))

    return build


def proxy_container() -> ProxyContainer:
    choice = proxy_configuration.choose(["a=memstore", "b=memstore"], None)
    given = {"enable_tracing": "true", "default_pattern": "b"}
    configuration = proxy_configuration.resolve(
        choice, {name: Given(text, Source.FLAG) for name, text in given.items()}
    )
    return ProxyContainer(configuration=configuration)


async def test_every_provider_of_a_server_resolves(make: Callable[..., Container]) -> None:
    container = make(enable_tracing=True, resp_port=0)
    for name, provider in {**container.providers, **container.common().providers}.items():
        # Only a proxy has the first; the others are there when a setting asks for them.
        absent = (
            "proxy_admin_servicer",
            "access",
            "access_to_data",
            "audit_log",
            "operation_record",
        )
        assert (provider() is None) == (name in absent), name


async def test_every_provider_of_a_proxy_resolves() -> None:
    container = proxy_container()
    for name, provider in {**container.providers, **container.common().providers}.items():
        # Only a server has the first; the others are there when a setting asks for them.
        absent = ("redis_server", "access", "access_to_data", "audit_log", "operation_record")
        assert (provider() is None) == (name in absent), name
    assert "gateway" not in {*container.providers, *container.common().providers}


async def test_proxy_admits_as_many_operations_as_its_patterns_together() -> None:
    container = proxy_container()
    assert container.supervisor().default == "b"
    assert container.configuration().max_in_flight == 2 * container.settings().max_in_flight


async def test_part_is_made_once(make: Callable[..., Container]) -> None:
    container = make()
    assert container.driver() is container.driver()
    assert container.driver() is container.common.driver()
    assert container.driver() is not make().driver()


async def test_override_reaches_every_user_of_the_part(make: Callable[..., Container]) -> None:
    container = make()
    fake = Memstore()
    with container.reset_singletons(), container.driver.override(providers.Object(fake)):
        await container.lifecycle().initialize({})
        await container.lifecycle().start()
        await container.gateway().set("k", b"v")
        entry = await fake.get("k")
        assert entry is not None
        assert entry.value == b"v"
        await container.lifecycle().stop()
    assert container.driver() is not fake


async def test_settings_reach_the_parts(make: Callable[..., Container]) -> None:
    container = make(
        max_message_bytes=2 << 20,
        default_timeout=timedelta(seconds=3),
        tls_cert=Path("c"),
        tls_key=Path("k"),
        admin_token="t",
        metrics=False,
    )
    assert container.settings().limits.max_batch_bytes == (2 << 20) - (256 << 10)
    assert container.settings().limits.max_value_bytes == (2 << 20) - (256 << 10)
    options = container.common.server_options()
    assert options.default_timeout == timedelta(seconds=3)
    assert options.tls is not None
    assert options.tls.cert == Path("c")
    assert options.admin_token == "t"
    assert container.common.http_server() is None


@pytest.mark.parametrize("settings", [ServerSettings, ServeSettings, ProxySettings])
def test_every_setting_of_a_server_is_in_one_group(settings: type[ServerSettings]) -> None:
    grouped = [name for names in settings.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(field.name for field in settings_of(settings))


def test_patterns_inherit_limits_and_observability_from_their_proxy() -> None:
    settings = ProxySettings(
        host="0.0.0.0",
        insecure=True,
        grpc_port=1,
        metrics_port=2,
        log_format="text",
        max_in_flight=10,
        slow_request=timedelta(milliseconds=1500),
        metrics=False,
        trace_ratio=0.5,
        transport="grpcio",
    )
    flags = launch_options(settings, SocketDir(), Redactor()).flags
    assert " ".join(flags) == (
        "--transport grpcio --max-in-flight 20 --max-in-flight-per-connection 20 "
        "--no-metrics --slow-request 1500ms --trace-ratio 0.5"
    )


def test_pattern_accepts_every_flag_that_its_proxy_passes_on() -> None:
    accepted = {flag for option in server_options() for flag in option.declaration.split("/")}
    settings = ProxySettings(
        default_timeout=timedelta(seconds=1),
        max_message_bytes=1 << 20,
        max_in_flight=1,
        max_watches=1,
        metrics=False,
        debug=True,
        slow_request=timedelta(),
        enable_tracing=True,
        trace_exporter="otlp",
        trace_ratio=0.0,
        transport="grpcio",
    )
    flags = launch_options(settings, SocketDir(), Redactor()).flags
    assert {flag for flag in flags if flag.startswith("--")} <= accepted
    assert len([flag for flag in flags if flag.startswith("--")]) == 12
