"""One page of a browser and the app behind it, a process that draws into its web socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from engine.text import one_line
from moco_tui.training.detached import child_environment

_READY = b"__GANGLION__\n"  # what textual/drivers/web_driver.py says first
_END_SECONDS = 120.0
"""How long an app may take to end: its run finishes the step and writes a checkpoint."""
_MOST_SAID = 4096  # bytes of what it wrote on stderr
_READ_BYTES = 65536
_MOST_CELLS = 1000
_CLEAR = "\x1b[2J\x1b[H"
# What is known of the terminal in which the server was started says nothing of the browser.
_ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "MOCO_TUI_ASCII": "0"}
_FOREIGN = ("MOCO_TUI_PICTURES", "TMUX", "STY")


class WebSession(AppService):
    """The app in a process of its own, for one page.

    Args:
        arguments: what starts the app.
        write: sends what it draws to the page.
        close: closes the page's socket.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], Awaitable[Any]],
    ) -> None:
        async def nothing(text: str) -> None:
            del text

        super().__init__(
            "",
            write_bytes=write,
            write_str=nothing,
            close=close,
            download_manager=DownloadManager(),  # which the base asks for; the app sends no files
        )
        self._arguments = list(arguments)

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        modules = {"PYTHONPATH": child_environment()["PYTHONPATH"]}
        found = super()._build_environment(width, height) | modules | _ENVIRONMENT
        return {name: value for name, value in found.items() if name not in _FOREIGN}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        # Without a shell: nothing in a path is a command.
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width, height),
            start_new_session=True,  # Ctrl+C ends the server, which then lets the app end
        )
        self._stdin = self._process.stdin
        return self._process

    async def run(self) -> None:
        """Passes on what the app draws until it ends, then what it has said on stderr."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said = asyncio.create_task(_last_bytes(process.stderr))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if await process.stdout.readline() == _READY:
                await self._pass_on(process.stdout)
        with contextlib.suppress(OSError):
            # A page that is gone takes nothing more, and the app must not wait for it.
            while await process.stdout.read(_READ_BYTES):
                pass
        text = one_line((await said).decode("utf-8", "replace"))
        await process.wait()
        with contextlib.suppress(ConnectionError, RuntimeError):
            if text:
                await self.remote_write_bytes(f"{_CLEAR}{text}\r\n".encode())
            await self.remote_close()

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        """Reads packets: a letter, the length in four bytes, so many bytes."""
        while True:
            kind = await stream.readexactly(1)
            payload = await stream.readexactly(int.from_bytes(await stream.readexactly(4), "big"))
            if kind == b"D":
                await self.remote_write_bytes(payload)

    async def take(self, text: str) -> None:
        """Passes on what the page has sent; what makes no sense is left out."""
        try:
            kind, *rest = json.loads(text)
        except (ValueError, TypeError):
            return
        match kind, rest:
            case "stdin", [str(keys)]:
                await self.send_bytes(keys.encode("utf-8", "replace"))
            case "resize", [{"width": int(width), "height": int(height)}]:
                if 0 < width <= _MOST_CELLS and 0 < height <= _MOST_CELLS:
                    await self.set_terminal_size(width, height)
            case "focus", _:
                await self.focus()
            case "blur", _:
                await self.blur()

    async def stop(self) -> None:
        """Lets the app end; what it trains goes on in the background."""
        task, process = self._task, self._process
        if task is None or process is None:
            return
        self._task = None
        await self.send_meta({"type": "quit"})
        done, _ = await asyncio.wait({task}, timeout=_END_SECONDS)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()  # its guard hands the run over
            await asyncio.wait({task}, timeout=_END_SECONDS)


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """The last bytes of a stream, once it has ended."""
    kept = b""
    while data := await stream.read(_MOST_SAID):
        kept = (kept + data)[-_MOST_SAID:]
    return kept
