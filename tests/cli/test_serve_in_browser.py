"""``moco-tui serve`` in a real browser, driven over the DevTools protocol; skipped without one.

Chromium is the distribution's, without a window. It starts with a resolver that knows no name, so
the page shows only what this machine serves.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from ..environment import with_packages
from .conftest import begin, trained

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

SECONDS = 90


class Tab:
    """A tab, told what to do over its web socket (chromedevtools.github.io/devtools-protocol)."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.asked: list[str] = []  # addresses that the page has loaded something from

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=SECONDS)
            if answer.get("method") == "Network.requestWillBeSent":
                self.asked.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    async def value(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def key(self, key: str, code: str, number: int, text: str) -> None:
        names = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **names)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    async def picture(self) -> Image.Image:
        answer = await self.call("Page.captureScreenshot", format="png")
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")

    async def still(self) -> Image.Image:
        """The page once two pictures of it in a row are the same."""
        async with asyncio.timeout(SECONDS):
            before = await self.picture()
            while differs(before, after := await self.picture()):
                before = after
                await asyncio.sleep(0.2)
            return after

    async def drawn(self) -> Image.Image:
        """The page once a screen stands on it; the first byte can be long before that."""
        async with asyncio.timeout(SECONDS):
            while len((page := await self.still()).getcolors(maxcolors=1 << 24) or []) <= 20:
                await asyncio.sleep(0.2)
            return page

    async def changed(self, before: Image.Image, least: int = 200) -> Image.Image:
        """The page once so many of its pixels are others."""
        async with asyncio.timeout(SECONDS):
            while not differs(before, await self.picture(), least):
                await asyncio.sleep(0.2)
            return await self.still()


def differs(a: Image.Image, b: Image.Image, least: int = 200) -> bool:
    """Whether more pixels are others than a cursor or a clock has."""
    changed = ImageChops.difference(a, b).convert("L").point(lambda value: 255 * (value > 16))
    return changed.histogram()[255] >= least


@asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), SECONDS)


@asynccontextmanager
async def browser(tmp_path: Path) -> AsyncIterator[Tab]:
    profile = tmp_path / "profile"
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-first-run",
        "--disable-gpu",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        f"--user-data-dir={profile}",
        "--window-size=1200,800",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        *(["--no-sandbox"] if os.getuid() == 0 else []),
        "about:blank",
    ]
    null = asyncio.subprocess.DEVNULL
    async with started(*command, stdout=null, stderr=null), aiohttp.ClientSession() as client:
        port_file = profile / "DevToolsActivePort"
        async with asyncio.timeout(SECONDS):
            while not (port_file.exists() and port_file.read_text().strip()):
                await asyncio.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        async with client.get(f"http://127.0.0.1:{port}/json/list") as response:
            tabs = [tab for tab in json.loads(await response.text()) if tab["type"] == "page"]
        async with client.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.call("Page.enable")
            await tab.call("Network.enable")
            yield tab


async def test_first_screen_a_moving_curve_and_a_key(root: Path, tmp_path: Path) -> None:
    folder = trained(root, name="moving", status=None)
    serve = [sys.executable, "-m", "moco_tui", "serve", "--port", "0"]
    pipe = asyncio.subprocess.PIPE
    environment = with_packages(MOCO_TUI_RUNS=str(root))
    with begin(folder) as owner:
        async with (
            started(*serve, stdout=pipe, env=environment) as server,
            browser(tmp_path) as tab,
        ):
            assert server.stdout is not None
            address = (await server.stdout.readline()).decode().strip()
            origin = address.partition("/?")[0]
            await tab.call("Page.navigate", url=address)
            async with asyncio.timeout(SECONDS):
                while not await tab.value("document.body.classList.contains('-first-byte')"):
                    await asyncio.sleep(0.1)
            first = await tab.drawn()
            assert "token" not in await tab.value("location.href")
            await tab.value("document.querySelector('.xterm-helper-textarea').focus()")
            await tab.key("Enter", "Enter", 13, "\r")
            monitor = await tab.changed(first)
            for step in range(4, 40):
                owner.metrics(step, step / 10, {"train/loss": 10 - step / 10, "train/lr": 0.06})
            await tab.changed(monitor, least=600)
            assert not await tab.value("document.body.classList.contains('-closed')")
            await tab.key("q", "KeyQ", 81, "q")
            async with asyncio.timeout(SECONDS):
                while not await tab.value("document.body.classList.contains('-closed')"):
                    await asyncio.sleep(0.1)
            elsewhere = [url for url in tab.asked if not url.startswith((origin, "data:"))]
            assert elsewhere == []
