"""The reader of the pages fails where a page is wrong, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT, blocks, matches
from tests.integration.documentation.reader import Reader, StartServer
from tests.integration.documentation.shell import Shell


def read(page: str, folder: Path, start_server: StartServer) -> None:
    file = folder / "page.md"
    file.write_text(page)
    with Shell(folder, {}) as shell:
        reader = Reader(folder, start_server, shell, {})
        for block in blocks(str(file)):
            reader.read(block)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("3", "3"),
        ("a\nb", "a, b"),
        ("299.9s", "29…s"),
        ("prism: the key exists, and more\nstatus 4", "prism: the key exists…, status 4"),
    ],
)
def test_output_matches_the_expected_text(output: str, expected: str) -> None:
    assert matches(output, expected)
    assert not matches(f"{output}!", expected)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```sh\necho 1                     # → 2\n```", "page.md:3: echo 1"),
        ("```sh\necho well   # aside\nfalse\n```", "page.md:3: false"),
        ("```sh\nmake no-such-target\n```", "make no-such-target"),
        ("```python\nprint(1)  # → 2\n```", "page.md:3 printed '1', expected '2'"),
        ("```python\nprint(1)  # → 1\nprint(2)\n```", "page.md:3 printed"),
        ("```python\nimport a_missing_module\n```", "No module named 'a_missing_module'"),
    ],
)
def test_a_block_that_is_wrong_fails_with_its_place(
    block: str, message: str, tmp_path: Path, start_server: StartServer
) -> None:
    with pytest.raises(AssertionError) as found:
        read(f"# Page\n\n{block}\n", tmp_path, start_server)
    assert message in str(found.value)


def test_blocks_share_a_shell_a_server_and_files(tmp_path: Path, start_server: StartServer) -> None:
    page = """`notes.txt` is a file:

```text
of the page
```

```sh
. .venv/bin/activate
cat notes.txt                              # → of the page
WHO=world
prism serve --memstore-max-keys 1
```

```sh
prism kv set greeting \\
  "hello $WHO"
prism kv get greeting                      # → hello world
prism kv set another value || echo full    # → prism: the memstore holds 1 key…, full
```

```python
import asyncio
import prism

async def main() -> None:
    async with prism.connect("127.0.0.1:9090") as kv:
        print(await kv.exists("greeting"))  # → True

asyncio.run(main())
```
"""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    read(page, tmp_path, start_server)
