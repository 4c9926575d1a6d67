"""Checks the page in Chromium: `python -m tests.chromium [--save]`.

It opens the pages of a server and of a proxy, both under load and after a hostile request,
in a narrow and a wide window, light and dark. Screenshots are in build/page. `--save`
renews the one in docs after two minutes of load, which fill its chart.

https://playwright.dev/python/docs/api/class-browsertype#browser-type-launch
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from prism import Client, connect
from prism.bootstrap.configuration import Given, Source, choose, resolve
from prism.bootstrap.container import Container
from prism.domain.redaction import Redactor
from prism.ports import (
    BackendUnavailable,
    InvalidArgument,
    NotServing,
    PrismError,
    State,
    Version,
)
from tests.servers.process import free_port

_HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'&\u202e\x1b[31m"""
_SECRET = "planted-admin-token"
_PICTURES = Path("build/page")
_SAVED = Path("docs/page.png")
_SAVED_SIZE: ViewportSize = {"width": 1000, "height": 1180}
_WARM_UP_S, _WARM_UP_TO_SAVE_S = 6, 125

Scheme = Literal["light", "dark"]
_WIDTHS = {"phone": 360, "desktop": 1280}
_SCHEMES: tuple[Scheme, ...] = ("light", "dark")

# Elements that appear only if quoted text is not escaped.
_INJECTED = "document.querySelectorAll('script, img, iframe, object, form, [onerror]').length"
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_BACKGROUND = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    """Run a server under load, and yield the address of its page."""
    port = free_port()
    given = {
        "grpc_port": Given("0", Source.FLAG),
        "metrics_port": Given(str(port), Source.FLAG),
        "admin_token": Given(_SECRET, Source.ENVIRONMENT),
        "memstore_max_keys": Given("100000", Source.FLAG),
    }
    configuration = resolve(choose("memstore", None), given)
    container = Container(configuration=configuration, redactor=Redactor(configuration.secrets))
    application, lifecycle = container.application(), container.lifecycle()
    running = asyncio.create_task(application.run())
    while lifecycle.current is not State.RUNNING:
        await asyncio.sleep(0.01)
    (address,) = container.common.grpc_server().addresses
    load = asyncio.create_task(_load(address))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
        application.end("the check is done")
        await running


@asynccontextmanager
async def _proxy() -> AsyncIterator[str]:
    """Run a proxy with a pattern that works and one that does not, and yield its page's address."""
    port, metrics_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prism.cli", "proxy"),
        *("--pattern", "cache=memstore", "--pattern", "lost=redis"),
        *("--grpc-port", str(port), "--metrics-port", str(metrics_port)),
        env={
            **os.environ,
            "PRISM_ADMIN_TOKEN": _SECRET,
            "PRISM_LOST_URL": f"redis://:{_SECRET}@127.0.0.1:{free_port()}/0",
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    load = asyncio.create_task(_load_when_serving(f"127.0.0.1:{port}"))
    try:
        yield f"http://127.0.0.1:{metrics_port}"
    finally:
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
        process.terminate()
        await process.wait()


async def _load_when_serving(address: str) -> None:
    while True:
        with suppress(BackendUnavailable, NotServing):
            await _load(address)
        await asyncio.sleep(0.05)


async def _load(address: str) -> None:
    async with connect(address) as kv:
        await _fail(kv)
        swing = 1.0
        while True:
            swing = min(max(swing + random.uniform(-0.15, 0.15), 0.3), 1.5)
            await asyncio.gather(*(_operation(kv) for _ in range(int(20 * swing))))
            await asyncio.sleep(0.05)


async def _operation(kv: Client) -> None:
    key = f"session:{random.randrange(5000)}"
    match random.choices(("get", "set", "increment", "delete"), (60, 30, 8, 2))[0]:
        case "get":
            await kv.get(key)
        case "set":
            await kv.set(key, b"x" * random.randrange(512))
        case "increment":
            await kv.increment(f"visits:{random.randrange(100)}", 1)
        case _:
            await kv.delete(key)


async def _fail(kv: Client) -> None:
    with suppress(InvalidArgument):
        await kv.scan(page_token=_HOSTILE)
    for _ in range(3):
        with suppress(PrismError):
            await kv.compare_and_delete("session:none", expected=Version(1))
    await kv.set("name", b"Ada")
    with suppress(PrismError):
        await kv.increment("name", 1)
    with suppress(PrismError):
        await kv.get("k" * 2000)


async def _check_page(
    browser: Browser, url: str, width: int, scheme: Scheme, picture: Path
) -> list[str]:
    """Return what is wrong with the page in this window."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, device_scale_factor=2
    )
    page = await context.new_page()
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    answer = await page.goto(url, wait_until="networkidle")
    problems = [f"Chromium reports: {each}" for each in messages]
    if answer is None or answer.status != 200:
        problems.append("the status is not 200")
    if requests != [url]:
        problems.append(f"it requests more than itself: {requests}")
    problems += await _inspect(page, scheme)
    await page.screenshot(path=picture, full_page=True)
    if picture.stem == "page-desktop-light":
        await page.set_viewport_size(_SAVED_SIZE)
        await page.screenshot(path=_PICTURES / _SAVED.name)
    await context.close()
    return problems


async def _inspect(page: Page, scheme: Scheme) -> list[str]:
    problems = []
    if overflow := await page.evaluate(_OVERFLOW):
        problems.append(f"it is {overflow} px wider than the window")
    if injected := await page.evaluate(_INJECTED):
        problems.append(f"{injected} elements come from quoted text")
    is_dark = sum(await page.evaluate(_BACKGROUND)) < 3 * 128
    if is_dark != (scheme == "dark"):
        problems.append(f"its background is not {scheme}")
    text = await page.inner_text("body")
    if "<script>alert(1)</script>" not in text:
        problems.append("it does not show the hostile request")
    if _SECRET in await page.content():
        problems.append("it shows a secret")
    return problems


async def _check_all(*, save: bool) -> int:
    executable = shutil.which("chromium")
    assert executable is not None, "chromium is not installed"
    problems = 0
    async with _server() as url, _proxy() as proxy, async_playwright() as playwright:
        await asyncio.sleep(_WARM_UP_TO_SAVE_S if save else _WARM_UP_S)
        pages = {"page": f"{url}/", "refreshing": f"{url}/?refresh", "proxy": f"{proxy}/"}
        # Root, as in a container, cannot use the sandbox; only our own page is opened.
        browser = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"]
        )
        for device, width in _WIDTHS.items():
            for scheme in _SCHEMES:
                for name, page in pages.items():
                    picture = _PICTURES / f"{name}-{device}-{scheme}.png"
                    for each in await _check_page(browser, page, width, scheme, picture):
                        problems += 1
                        sys.stderr.write(f"{name} on a {device}, {scheme}: {each}\n")
        await browser.close()
    if save and not problems:
        shutil.copyfile(_PICTURES / _SAVED.name, _SAVED)
    return int(bool(problems))


def main() -> int:
    """Return the exit status: 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.chromium", description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"renew {_SAVED}")
    arguments = parser.parse_args()
    _PICTURES.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_check_all(save=arguments.save))


if __name__ == "__main__":
    sys.exit(main())
