"""The reader of the pages is no pushover: what is wrong in a page fails, and says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT, agrees, blocks
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
    ("output", "said"),
    [
        ("3", "3"),
        ("a\nb", "a, b"),
        ("299.9s", "29…s"),
        ("prism: the key exists, and more\nstatus 4", "prism: the key exists…, status 4"),
    ],
)
def test_what_is_printed_agrees_with_what_is_said(output: str, said: str) -> None:
    assert agrees(output, said)
    assert not agrees(f"{output}!", said)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("```sh\necho 1                     # → 2\n```", "page.md:3: echo 1"),
        ("```sh\necho well   # aside\nfalse\n```", "page.md:3: false"),
        ("```sh\nmake no-such-target\n```", "make no-such-target"),
        ("```python\nprint(1)  # → 2\n```", "page.md:3 printed '1' and says '2'"),
        ("```python\nprint(1)  # → 1\nprint(2)\n```", "page.md:3 printed"),
        ("```python\nimport nothing_of_the_kind\n```", "No module named 'nothing_of_the_kind'"),
    ],
)
def test_a_block_that_does_not_do_what_it_says_is_found(
    block: str, told: str, tmp_path: Path, start_server: StartServer
) -> None:
    with pytest.raises(AssertionError) as found:
        read(f"# Page\n\n{block}\n", tmp_path, start_server)
    assert told in str(found.value)


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
prism kv set another value || echo full    # → prism: the memstore holds 1 keys…, full
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
