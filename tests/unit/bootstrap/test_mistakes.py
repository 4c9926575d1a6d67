"""Errors of configuration name the value, its source, and what is valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from prism.bootstrap.configuration import choose, misspelt_variables, read_file
from prism.ports import InvalidArgument

Prism = Callable[..., Result]
Install = Callable[..., Path]

_TLS = ("--tls-cert", "a.pem", "--tls-key", "a.key")
_JWT = ("--policy", "p", "--jwt-issuer", "https://id", "--jwt-audience", "a")


@pytest.fixture(autouse=True)
def _installed(install: Install) -> None:
    install()


@pytest.mark.parametrize(
    ("args", "env", "expected"),
    [
        (["--grpc-port", "many"], {}, "'--grpc-port'"),
        (["--grpc-port", "many"], {}, "grpc_port is 'many'; it must be a whole number"),
        (
            ["--grpc-port", "70000"],
            {},
            "grpc_port is 70000; it must be 0 to 65535 (flag --grpc-port)",
        ),
        ([], {"PRISM_GRPC_PORT": "many"}, "'PRISM_GRPC_PORT'"),
        ([], {"PRISM_METRICS_PORT": "-1"}, "0 to 65535 (environment PRISM_METRICS_PORT)"),
        (["--log-format", "xml"], {}, "log_format is 'xml'; it must be one of json, text"),
        ([], {"PRISM_DEFAULT_TIMEOUT": "30"}, "a duration such as 1500ms, 2s, 5m, 1h or 1d"),
        ([], {"PRISM_REFLECTION": "perhaps"}, "'PRISM_REFLECTION'"),
        ([], {"PRISM_REFLECTION": "perhaps"}, "reflection is 'perhaps'; it must be true or false"),
        (
            [],
            {"PRISM_HOST": "tcp://10.0.0.1:80"},
            "host is 'tcp://10.0.0.1:80'; it must be the name",
        ),
        (["--host", "localhost:9090"], {}, "host is 'localhost:9090'; it must be the name"),
        (["--host", ""], {}, "host is ''; it must be the name or address"),
        (["--metrics-host", "[::1"], {}, "metrics_host is '[::1'; it must be the name"),
        (["--resp-port", "0", "--resp-host", "a b"], {}, "resp_host is 'a b'; it must be the name"),
        (["--driver", ""], {}, "driver is empty"),
        (["--grpc-socket", ""], {}, "grpc_socket is ''; it must be a path"),
        (["--max-in-flight", "0"], {}, "max_in_flight is 0; it must be 1 or more"),
        (["--max-message-bytes", "100"], {}, "max_message_bytes is 100; it must be 1048576 to"),
        (["--tls-cert", "a.pem"], {}, "tls_key is missing: a certificate needs its key\n"),
        (["--tls-client-ca", "a.pem"], {}, "tls_client_ca needs tls_cert"),
        (["--host", "10.0.0.7"], {}, "without TLS they can read keys, values and tokens"),
        (["--resp-port", "0", "--resp-host", "10.0.0.7"], {}, "resp_host is 10.0.0.7, which other"),
        (["--tokens", "t"], {}, "tokens needs policy"),
        (["--policy", "p", "--admin-token", "t"], {}, "admin_token and policy exclude each other"),
        (["--audit-keys"], {}, "audit_keys needs audit_log"),
        (["--audit-operations"], {}, "audit_operations needs audit_log"),
        (["--tls-crl", "c"], {}, "tls_crl needs tls_client_ca"),
        ([*_TLS, "--tls-client-ca", "a", "--tls-crl", "c"], {}, "tls_crl needs policy"),
        (["--tls-min-version", "1.3"], {}, "tls_min_version needs tls_cert and tls_key"),
        ([*_TLS, "--tls-min-version", "1.3"], {}, "for which the transport h2corn has no option"),
        (["--jwt-audience", "a"], {}, "jwt_audience needs jwt_issuer"),
        (["--jwt-issuer", "https://id"], {}, "jwt_issuer needs policy"),
        ([*_JWT[:4]], {}, "jwt_audience is missing: without it, a token for another service"),
        ([*_JWT, "--jwt-keys", "k", "--jwt-keys-url", "https://id/k"], {}, "exclude each other"),
        (
            [*_JWT, "--jwt-algorithms", "ES256,HS256"],
            {},
            "jwt_algorithms has 'HS256'; the valid ones are RS",
        ),
        ([*_JWT, "--jwt-algorithms", "none"], {}, "jwt_algorithms has 'none'"),
        ([*_JWT, "--jwt-clock-skew", "1h"], {}, "jwt_clock_skew must be 0 to 600 s"),
        ([*_JWT, "--jwt-name-claim", ""], {}, "jwt_name_claim is empty"),
        (["--metrics-port", "9090"], {}, "metrics_port is the same as grpc_port"),
        (["--grpc-prot", "1"], {}, "No such option: --grpc-prot"),
        (["--grpc-prot", "1"], {}, "--grpc-port"),
        (["--grpc-port"], {}, "'--grpc-port' requires an argument"),
        (["--driver"], {}, "'--driver' requires an argument"),
        (["--config", "absent.yaml"], {}, "cannot read the config file absent.yaml: No such file"),
        (["extra"], {}, "extra"),
        (["--driver", "fake-kv", "--fake-kv-mode", "wild"], {}, "one of fast, safe"),
        (["--driver", "fake-kv", "--fake-kv-patience", "2h"], {}, "patience is more than an hour"),
        ([], {"PRISM_DRIVER": "fake-kv", "PRISM_FAKE_KV_DEEP": "?"}, "'PRISM_FAKE_KV_DEEP'"),
    ],
)
def test_invalid_value_is_named_with_its_source_and_valid_values(
    prism: Prism, args: list[str], env: dict[str, str], expected: str
) -> None:
    result = prism("serve", *args, env=env)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output


def test_config_show_rejects_what_serve_rejects(prism: Prism) -> None:
    result = prism("config", "show", "--grpc-port", "many")
    assert result.exit_code == 2
    assert "it must be a whole number" in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grpc_prot: 1", "c.yaml: unknown key grpc_prot; the valid ones are: grpc_port,"),
        ("grpc-port: 1", "c.yaml: unknown key grpc-port; the valid ones are: grpc_port,"),
        ("grpc_port: many", "c.yaml: grpc_port is 'many'; it must be a whole number"),
        ("grpc_port: 70000", "grpc_port is 70000; it must be 0 to 65535 (file c.yaml)"),
        ("grpc_port: [1, 2]", "c.yaml: grpc_port must be a whole number, not a list or mapping"),
        ("grpc_port: 1\ngrpc_port: 2", "the key 'grpc_port' is given twice at line 2"),
        ("driver: memstor", "c.yaml: unknown driver 'memstor'; the installed ones are: memstore"),
        ("admin_token: 0123", "c.yaml: admin_token must be text: put it in quotes"),
        ("host: no", "c.yaml: host must be text: put it in quotes"),
        ("drivers: {memstore: {max_kyes: 1}}",
         "c.yaml: unknown key drivers.memstore.max_kyes; the valid ones are: max_keys"),
        ("drivers: {memstore: {max_keys: x}}", "c.yaml: drivers.memstore.max_keys is 'x'"),
        ("drivers: {memstore: 7}", "c.yaml: drivers.memstore must be a mapping of names to values"),
        ("drivers: {memstor: {}}", "did you mean drivers.memstore?"),
        ("drivers: 7", "c.yaml: 'drivers' must be a mapping of drivers to their settings"),
        ("- a\n- b", "c.yaml: a config file must be a mapping of names to values"),
        ("a: b: c", "c.yaml is not valid YAML"),
        ("when: 2020-99-99", "c.yaml is not valid YAML"),
        ("a: " + "[" * 5_000, "c.yaml is nested too deeply"),
    ],
)  # fmt: skip
def test_invalid_config_file_is_named_with_the_reason(
    prism: Prism, text: str, expected: str
) -> None:
    Path("c.yaml").write_text(text)
    result = prism("serve", "--config", "c.yaml")
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("content", [b"grpc_port = ", b"grpc_port = 1\ngrpc_port = 2"])
def test_invalid_toml_is_named(prism: Prism, content: bytes) -> None:
    Path("c.toml").write_bytes(content)
    result = prism("serve", "--config", "c.toml")
    assert result.exit_code == 2
    assert "c.toml is not valid TOML" in result.stderr


def test_folder_that_cannot_be_searched_for_a_config_file_is_named() -> None:
    with pytest.raises(InvalidArgument, match="in the working folder: File name too long; start"):
        read_file(None, Path("c" * 300))


def test_binary_config_file_is_named(prism: Prism) -> None:
    Path("c.yaml").write_bytes(b"\xff\xfe\x00")
    result = prism("serve", "--config", "c.yaml")
    assert result.exit_code == 2
    assert "c.yaml is not UTF-8" in result.stderr


def test_missing_required_setting_names_every_way_to_set_it(install: Install, prism: Prism) -> None:
    source = (
        "from dataclasses import dataclass, replace\n"
        "from prism.adapters.memstore import DRIVER\n"
        "from prism.ports import setting\n"
        "@dataclass\n"
        "class S:\n"
        "    bucket: str = setting(help='Where to keep it.')\n"
        "DRIVER = replace(DRIVER, name='needy', settings=S)"
    )
    install("needy", module="needy_driver", source=source)
    result = prism("serve", "--driver", "needy")
    assert result.exit_code == 2
    assert "--needy-bucket" in result.stderr
    assert "PRISM_NEEDY_BUCKET" in result.stderr
    assert "drivers.needy.bucket" in result.stderr
    assert "Where to keep it." in result.stderr


@pytest.mark.parametrize(
    ("variable", "suggested"),
    [
        ("PRISM_GRPCPORT", "PRISM_GRPC_PORT"),
        ("PRISM_FAKE_KV_ULR", "PRISM_FAKE_KV_URL"),
        ("PRISM_SERVICE_HOST", None),
        ("PRISM_SERVICE_PORT", None),
        ("PRISM_PORT", None),
        ("PRISM_PORT_9090_TCP_ADDR", None),
        ("PRISM_GRPC_PORT", None),
        ("OTHER_GRPCPORT", None),
    ],
)
def test_misspelt_variables_are_warned_about_but_not_those_of_kubernetes(
    variable: str, suggested: str | None
) -> None:
    found = misspelt_variables([variable], choose("fake-kv", None).options)
    if suggested is None:
        assert found == []
    else:
        assert found == [
            f"{variable} is not a setting and has no effect; did you mean {suggested}?"
        ]
