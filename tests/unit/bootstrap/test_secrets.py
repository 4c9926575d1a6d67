from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from prism.bootstrap.configuration import Configuration, Given, Source, choose, resolve
from prism.domain.redaction import credentials_in, redact_urls

Shown = Callable[..., dict[str, tuple[Any, str]]]
Prism = Callable[..., Result]
Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def _installed(install: Install) -> None:
    install()


def resolved(**given: Given) -> Configuration:
    return resolve(choose("fake-kv", None), given)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        ("hunter2\n", "hunter2"),
        ("hunter2\r\n", "hunter2"),
        ("hunter2", "hunter2"),
        (" hunter2 \n\n", "hunter2"),
        ("\ufeffhunter2\r\n", "hunter2"),
        ("hunter 2\t\r\n", "hunter 2"),
    ],
)
def test_secret_is_the_text_of_its_file_without_the_last_newline(
    prism: Prism, content: str, secret: str
) -> None:
    Path("secret").write_bytes(content.encode())
    found = resolved(fake_kv_password_file=Given("secret", Source.FLAG))
    assert found.driver_settings == {"password": secret}


@pytest.mark.parametrize(
    ("args", "env", "file", "origin"),
    [
        (["--fake-kv-password-file", "s"], {}, "", "flag --fake-kv-password-file: s"),
        ([], {"PRISM_FAKE_KV_PASSWORD_FILE": "s"}, "",
         "environment PRISM_FAKE_KV_PASSWORD_FILE: s"),
        ([], {}, "drivers: {fake-kv: {password_file: s}}", "file c.yaml: s"),
        ([], {"PRISM_FAKE_KV_PASSWORD_FILE": "s"}, "drivers: {fake-kv: {password: other}}",
         "environment PRISM_FAKE_KV_PASSWORD_FILE: s"),
        (["--fake-kv-password", "x"], {"PRISM_FAKE_KV_PASSWORD_FILE": "s"}, "",
         "flag --fake-kv-password"),
    ],
)  # fmt: skip
def test_secret_file_can_be_named_by_flag_environment_and_file(
    shown: Shown, args: list[str], env: dict[str, str], file: str, origin: str
) -> None:
    Path("s").write_text("hunter2\n")
    Path("c.yaml").write_text(file)
    found = shown("--config", "c.yaml", "--driver", "fake-kv", *args, env=env)
    assert found["drivers.fake-kv.password"] == ("***", origin)


def test_secret_given_twice_at_one_level_is_an_error(prism: Prism) -> None:
    Path("s").write_text("hunter2")
    env = {"PRISM_ADMIN_TOKEN": "hunter3", "PRISM_ADMIN_TOKEN_FILE": "s"}
    result = prism("serve", env=env)
    assert result.exit_code == 2
    assert (
        "environment PRISM_ADMIN_TOKEN and by environment PRISM_ADMIN_TOKEN_FILE" in result.stderr
    )
    assert "hunter" not in result.output


def test_unreadable_secret_file_is_named(prism: Prism) -> None:
    result = prism("serve", "--admin-token-file", "absent")
    assert result.exit_code == 2
    assert "admin_token: absent cannot be read: No such file" in result.stderr
    assert "(flag --admin-token-file)" in result.stderr


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", "tökén".encode(), b"  "])
def test_token_that_cannot_be_a_header_is_rejected(
    prism: Prism, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    result = prism("serve", "--admin-token-file", str(file))
    assert result.exit_code == 2
    assert "admin_token" in result.stderr


def test_config_show_masks_secrets_and_passwords_in_urls(prism: Prism) -> None:
    for form in ([], ["--json"]):
        result = prism(
            *("config", "show", "--driver", "fake-kv", *form),
            *("--admin-token", "hunter1", "--fake-kv-password", "hunter2"),
            *("--fake-kv-url", "fake://me:hunter3@host/1"),
        )
        assert result.exit_code == 0
        assert "hunter" not in result.output
        assert "fake://me:***@host/1" in result.stdout


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://u:p@h:6379/0", "redis://u:***@h:6379/0"),
        ("redis://:p@h", "redis://:***@h"),
        ("redis://u:p@ss/w@h", "redis://u:***@h"),
        ("nats://token@h:4222", "nats://***@h:4222"),
        ("cannot reach 'redis://u:p@h': refused", "cannot reach 'redis://u:***@h': refused"),
        ("redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("http://h:8080/path", "http://h:8080/path"),
        ("me@example.org", "me@example.org"),
    ],
)
def test_a_url_shows_neither_password_nor_token(text: str, masked: str) -> None:
    assert redact_urls(text) == masked


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("redis://u:p%40ss@h:6379/0", {"p%40ss", "p@ss"}),
        ("nats://me:one@a:4222,nats://me:two@b:4222", {"one", "two"}),
        ("nats://token@h:4222", {"token"}),
        ("redis://h?password=p&db=1", {"p"}),
        ("http://h:8080/path", set()),
    ],
)
def test_the_credentials_in_a_url_are_known(text: str, secrets: set[str]) -> None:
    assert set(credentials_in(text)) == secrets
