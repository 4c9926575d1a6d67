"""Every command of docs/production.md works, with stand-ins for Docker, a cluster and systemd."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT, blocks
from tests.integration.documentation.shell import Shell

PAGE = "docs/production.md"
BIN = Path(sys.executable).parent

DIGEST = f"sha256:{'5' * 64}"

# Checks what can be checked without a daemon: the files that a command names, and the arguments
# that Prism gets.
DOCKER = f"""
case "$1" in
  buildx) test "$2 $3" = "imagetools inspect" && test -n "$4" && echo "Digest: {DIGEST}" ;;
  build) if test "$2" = --build-arg; then
           base=$(sed -n s/^ARG.BASE=//p "$5")
           test "$3" = "BASE=$base@{DIGEST}" && shift 2 || exit 1
         fi
         test -f "$3" && test "$4" = -t && test -d "$6" ;;
  push) test -n "$2" ;;
  run) while test "$1" != prism:0.1.0; do shift || exit 1; done
       shift && {BIN}/prism config show "$@" ;;
  compose) test -f "$3" && test "$4" = up ;;
  *) exit 1 ;;
esac
"""

# `create` runs on the client; `apply` renders what it would send.
KUBECTL = f"""
case "$1" in
  create) {BIN}/kubectl "$@" --dry-run=client -o yaml ;;
  apply) test "$2" = -k && {BIN}/kubectl kustomize "$3" | tee -a objects.yaml ;;
  exec) grep -qx "  name: ${{2#deploy/}}" objects.yaml && test "$3" = -- && shift 3 &&
        {BIN}/"$@" --help ;;
  *) exit 1 ;;
esac
"""

SYSTEMCTL = 'test "$1 $2 $3" = "enable --now prism" && test -f etc/systemd/system/prism.service'

PIP = 'test "$1" = install && test "$2" = ".[redis,nats]" && test -f pyproject.toml'

SECRETS = ("tls.crt", "tls.key", "ca.crt", "token", "redis-password", "nats-token")


def console_commands() -> Iterator[tuple[str, str]]:
    """Yield the commands of the page, with their places, in order."""
    for block in blocks(PAGE):
        if block.language == "console":
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    yield line.removeprefix("$ "), block.place


def test_the_page_has_commands_for_each_way_to_deploy() -> None:
    programs = {command.split()[0] for command, _ in console_commands()}
    assert {"docker", "kubectl", "systemctl"} <= programs


@pytest.mark.timeout(300)
def test_every_command_works(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_ins = {"docker": DOCKER, "kubectl": KUBECTL, "systemctl": SYSTEMCTL, "pip": PIP}
    for name, script in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(stat.S_IRWXU)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    (checkout / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    for name in SECRETS:
        (checkout / name).write_text(name)
    for folder in ("opt", "etc/systemd/system"):
        (checkout / folder).mkdir(parents=True)
    for block in blocks(PAGE):
        # A paragraph about a file may also stand before the commands that use it.
        if block.file is not None and block.language != "console":
            file = checkout / block.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
    replacements = {
        "-m venv": "-m venv --without-pip",
        "/opt/prism/bin/": "",
        "/opt/": "opt/",
        "/etc/": "etc/",
    }
    env = {"PATH": f"{programs}:{BIN}:{os.environ['PATH']}"}
    with Shell(checkout, env) as shell:
        for command, place in console_commands():
            text = command
            for old, new in replacements.items():
                text = text.replace(old, new)
            result = shell.run(text)
            assert result.status == 0, f"{place}: {command}\n{result.output}"
    unit = (checkout / "etc/systemd/system/prism.service").read_text()
    assert re.search(r"^ExecStart=/opt/prism/bin/python ", unit, re.MULTILINE)
    assert (checkout / "opt/prism/bin/python").exists()
