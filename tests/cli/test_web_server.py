"""The app behind a page: over HTTP and the web socket, as a browser speaks to it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.runs import create, own
from moco_tui.cli.web_access import Access

from ..environment import with_packages
from .conftest import begin, trained

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
from aiohttp import (  # noqa: E402
    ClientSession,
    ClientWebSocketResponse,
    CookieJar,
    WSServerHandshakeError,
    web,
)

from moco_tui.cli import web_server  # noqa: E402
from moco_tui.cli.web_session import WebSession  # noqa: E402

TOKEN = "the-token"
SIZE = (120, 40)


class Served:
    """A server, and a browser's cookies."""

    def __init__(self, port: int, client: ClientSession) -> None:
        self.url, self.client = f"http://127.0.0.1:{port}", client

    async def status(self, path: str, **headers: str) -> int:
        async with self.client.get(
            self.url + path, headers=headers, allow_redirects=False
        ) as response:
            return response.status

    async def enter(self) -> str:
        """Opens the address that was printed; the page."""
        async with self.client.get(f"{self.url}/?token={TOKEN}") as response:
            assert response.status == 200
            assert "token" not in str(response.url)
            return await response.text()

    async def socket(self, origin: str | None = None, query: str = "") -> ClientWebSocketResponse:
        headers = {"Origin": self.url if origin is None else origin}
        return await self.client.ws_connect(f"{self.url}/ws{query}", headers=headers)


class Page:
    """The terminal in a page."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.screen = pyte.Screen(*SIZE)
        self.stream = pyte.ByteStream(self.screen)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    async def send(self, *message: object) -> None:
        await self.socket.send_str(json.dumps(message))

    async def until(self, condition: Callable[[str], object]) -> None:
        async with asyncio.timeout(90):
            while not condition(self.text):
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, f"{message}\n{self.text}"
                self.stream.feed(re.sub(rb"\x1b\[[<>=]\d*u", b"", message.data))


@asynccontextmanager
async def serving(root: Path, *options: str) -> AsyncIterator[Served]:
    arguments = [sys.executable, "-m", "moco_tui", "--runs-dir", str(root), *options, "_served"]
    server = web_server.WebServer(arguments, Access(TOKEN), "cookie")
    runner = web.AppRunner(server.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            yield Served(port, client)
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in with_packages(TERM="dumb", LANG="C", MOCO_TUI_PICTURES="kitty").items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/ws", "/static/js/textual.js", "/static/", "/else"]
)
async def test_without_the_token_there_is_nothing(root: Path, path: str) -> None:
    async with serving(root) as served:
        assert await served.status(path, Origin=served.url) == 403
        assert await served.status(path, Origin=served.url, Cookie="cookie=wrong") == 403
        with pytest.raises(WSServerHandshakeError, match="403"):
            await served.socket()


async def test_the_token_becomes_a_cookie_that_no_script_reads_and_no_other_site_sends(
    root: Path,
) -> None:
    async with serving(root) as served:
        async with served.client.get(
            f"{served.url}/?token={TOKEN}", allow_redirects=False
        ) as response:
            assert response.status == 303
            assert response.headers["Location"] == "/"
            cookie = response.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
        assert await served.status("/static/js/textual.js") == 200
        assert await served.status("/else") == 404


async def test_the_page_asks_nobody_else_and_has_no_token(root: Path) -> None:
    async with serving(root) as served:
        page = await served.enter()
        assert TOKEN not in page
        host = served.url.removeprefix("http://")
        assert re.findall(r"\w+://[^\"'\s]*", page) == [f"ws://{host}/ws"]
        for path in re.findall(r"(?:src|href|url)[=(]\"(/[^\"]+)", page):
            assert await served.status(path) == 200, path
        async with served.client.get(served.url) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["Cache-Control"] == "no-store"


async def test_the_token_alone_does_not_let_another_site_in(root: Path) -> None:
    async with serving(root) as served:
        await served.enter()
        assert await served.status("/") == 200
        assert await served.status("/", Host="evil.example") == 403
        assert await served.status("/ws") == 403, "without an Origin"
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            assert await served.status("/", Origin=origin) == 403
            with pytest.raises(WSServerHandshakeError, match="403"):
                await served.socket(origin)


async def test_first_screen_a_moving_curve_and_a_key(root: Path) -> None:
    trained(root, name="sévère ○")
    live = trained(root, name="moving", status=None)
    with begin(live) as owner:
        async with serving(root, "--read-only") as served:
            await served.enter()
            page = Page(await served.socket(query=f"?width={SIZE[0]}&height={SIZE[1]}"))
            await page.until(lambda text: "sévère ○" in text and "moving" in text)
            assert "q Quit" in page.screen.display[-1], "it has the size of the page"
            await page.send("stdin", "\r")
            await page.until(lambda text: "Monitor" in text and "moving" in text)
            await page.until(lambda text: "last 10.50" in text)
            before = page.text
            for step in range(4, 30):
                owner.metrics(step, step / 10, {"train/loss": 10 - step / 10, "train/lr": 0.06})
            await page.until(lambda text: "last 7.1" in text)
            dots = [sum(0x2800 < ord(c) < 0x2900 for c in text) for text in (before, page.text)]
            assert dots[1] != dots[0]
            await page.send("stdin", "s")
            await page.until(lambda text: "read-only" in text)
            assert not live.pending_requests()
            await page.send("stdin", "q")
            while not page.socket.closed:
                await page.socket.receive()


async def test_what_makes_no_sense_is_left_out(root: Path) -> None:
    trained(root, name="first")
    async with serving(root) as served:
        await served.enter()
        page = Page(await served.socket(query="?width=-3&height=9999999999"))
        for text in ("", "nonsense", "[]", "7", '["stdin"]', '["stdin", 3]', '["resize", {}]'):
            await page.socket.send_str(text)
        await page.send("resize", {"width": 1e9, "height": "x"})
        await page.send("resize", {"width": 10**9, "height": 10**9})
        await page.send("resize", {"width": SIZE[0], "height": SIZE[1]})
        await page.until(lambda text: "first" in text)


async def test_the_app_ends_with_its_page_and_with_the_server(root: Path) -> None:
    trained(root, name="first")
    found: list[asyncio.subprocess.Process] = []
    opened = WebSession._open_app_process

    async def noted(self: WebSession, width: int = 80, height: int = 24) -> object:
        found.append(await opened(self, width, height))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebSession, "_open_app_process", noted)
        async with serving(root) as served:
            await served.enter()
            page = Page(await served.socket())
            await page.until(lambda text: "first" in text)
            await page.socket.close()
            assert await asyncio.wait_for(found[0].wait(), 60) == 0
            other = Page(await served.socket())
            await other.until(lambda text: "first" in text)
        assert await asyncio.wait_for(found[1].wait(), 60) == 0


async def test_a_run_that_a_page_trains_goes_on_without_it(root: Path) -> None:
    """The page closes, its app ends, and a process of its own goes on from the step."""
    small = {"data.source": "shapes", "data.limit": 32, "optim.batch_size": 16}
    small |= {
        "moco.queue_size": 32,
        "model.bn_splits": 2,
        "optim.epochs": 5000,
        "monitor.knn_every": 0,
    }
    folder = create(root, "pretrain", build(PretrainConfig, small), name="first")
    with own(folder) as owner:
        owner.transition("running")
        owner.transition("stopped")
    async with serving(root) as served:
        await served.enter()
        page = Page(await served.socket())
        await page.until(lambda text: "first" in text)
        await page.send("stdin", "r")
        await page.until(lambda _: folder.record().step > 2)
        before = folder.record().pid
        await page.socket.close()
        async with asyncio.timeout(90):
            while (now := folder.record()).pid == before or now.status != "running":
                await asyncio.sleep(0.2)
    folder.request("stop")
    async with asyncio.timeout(90):
        while (now := folder.record()).status != "stopped":
            await asyncio.sleep(0.2)
    assert now.step > 2


async def test_an_app_that_cannot_start_says_why_on_the_page(root: Path) -> None:
    async with serving(root, "--no-such-option") as served:
        await served.enter()
        page = Page(await served.socket())
        await page.until(lambda text: "--no-such-option" in text)


async def test_no_more_pages_than_so_many(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "MOST_SESSIONS", 0)
    async with serving(root) as served:
        await served.enter()
        with pytest.raises(WSServerHandshakeError, match="503"):
            await served.socket()
