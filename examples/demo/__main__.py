"""`python -m examples.demo`, from the root of the repository."""

from __future__ import annotations

import asyncio

from examples.demo.story import run

if __name__ == "__main__":
    asyncio.run(run())
