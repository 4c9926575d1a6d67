"""Uses the client where only its own packages can be imported: `python alone.py ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

ITS_OWN = {"prism", "google", "h2", "hpack", "hyperframe"}


class NothingElse:
    """Finder that finds no module of another package."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ITS_OWN:
            raise ModuleNotFoundError(f"{name} is of another package", name=name)
        return None


async def use(address: str) -> None:
    async with prism.connect(address) as kv, kv.watch("alone") as events:
        await kv.set("alone", b"v")
        assert (await anext(events)).key == "alone"
        assert str(await kv.lifecycle.state()) == "running"


if __name__ == "__main__":
    sys.meta_path.insert(0, NothingElse)
    import prism

    asyncio.run(use(sys.argv[1]))
    with prism.connect_sync(sys.argv[1]) as blocking:
        assert blocking.delete("alone")
    sys.stdout.write("fine\n")
