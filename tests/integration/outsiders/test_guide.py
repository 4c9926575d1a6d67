"""The code in docs/write-a-driver.md works: its first driver, and the quotes of the example."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import ClassVar

import pytest

from prism.ports import DriverSpec
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process
from tests.integration.outsiders.conftest import EXAMPLE, ROOT

GUIDE = (ROOT / "docs" / "write-a-driver.md").read_text()
PYTHON, TOML = (
    re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for language in ("python", "toml")
)
FIRST, *QUOTED = PYTHON


@pytest.fixture(scope="class")
def first() -> Iterator[DriverSpec]:
    """Driver in the first code block of the guide."""
    module = types.ModuleType("prism_guide")
    sys.modules[module.__name__] = module
    exec(FIRST, module.__dict__)
    yield module.DRIVER
    del sys.modules[module.__name__]


class TestFirstDriver(AcceptanceSuite):
    stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 1.0}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(first: DriverSpec, tmp_path_factory: pytest.TempPathFactory) -> OpenBackend:
        folder = tmp_path_factory.mktemp("guide")
        return in_process(first, {"path": str(folder), "sync": "false"})


def test_the_other_code_blocks_quote_the_example() -> None:
    sources = [path.read_text() for path in EXAMPLE.rglob("*.py")]
    sources += [textwrap.dedent(source) for source in sources]
    assert QUOTED
    for block in QUOTED:
        quotes = (block, textwrap.indent(block, "    "))
        assert any(quote in source for quote in quotes for source in sources), block


def test_the_guide_quotes_the_pyproject_of_the_example() -> None:
    assert [(EXAMPLE / "pyproject.toml").read_text()] == TOML
