"""The program for Node of the page on other languages, and its proto files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from prism.version import VERSION
from tests.integration.documentation.pages import ROOT, blocks
from tests.integration.grpc.test_stock_clients import MODULES
from tests.package import pack_protos

PAGE = "docs/other-languages.md"


async def test_program_for_node_does_what_the_page_says(shared_server: Any, tmp_path: Path) -> None:
    (program,) = (block for block in blocks(PAGE) if block.file == "client.js")
    (tmp_path / "client.js").write_text(program.text)
    archive = pack_protos(f"{VERSION}.tar.gz", tmp_path)
    shutil.unpack_archive(archive, tmp_path, filter="data")
    node = shutil.which(
        "node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert node, "node is missing: run 'make setup'"
    done = await asyncio.to_thread(
        subprocess.run,
        [node, "client.js", shared_server.address],
        cwd=tmp_path,
        env={**os.environ, "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    says = done.stdout.split("\n")
    assert says == ["hello", "ABORTED", "greeting WATCH_EVENT_TYPE_DELETE", ""]
    text = (ROOT / PAGE).read_text()
    assert "prints `hello`, `ABORTED` and `greeting WATCH_EVENT_TYPE_DELETE`" in text
    assert f"prism-proto-{VERSION}" in text
