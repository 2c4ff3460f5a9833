"""The server of ``moco-tui serve``: a page with a terminal, and a web socket to the app behind it.

Page and terminal come from this machine alone: nothing is loaded over the network.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

from moco_tui.cli.web_access import Access
from moco_tui.cli.web_session import WebSession

MOST_SESSIONS = 8
"""Pages that are open at the same time; each is a process with an app."""
_HEARTBEAT_SECONDS = 15.0
_FONT = "RobotoMono-VariableFont_wght.ttf"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>moco-tui</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<style>
@font-face {{ font-family: "Roboto Mono"; src: url("/static/fonts/{font}"); }}
body {{ background: #121212; color: #e0e0e0; font-family: "Roboto Mono", monospace; }}
body {{ overflow: hidden; }}
.ended {{ display: none; position: absolute; bottom: 0; margin: 0; padding: 1em; }}
.ended {{ background: #121212; }}
.ended a {{ color: inherit; }}
body.-closed .ended {{ display: block; }}
.font {{ position: absolute; visibility: hidden; }}
</style>
<script src="/static/js/textual.js"></script>
</head>
<body>
<span class="font">the font is there before the terminal is measured</span>
<div id="terminal" class="textual-terminal" data-session-websocket-url="{socket}"
 data-font-size="14"></div>
<p class="ended">The app has ended. <a href="/">Start it again</a></p>
</body>
</html>
"""


class WebServer:
    """Serves the app to those who have access.

    Args:
        arguments: what starts the app for a page.
        access: judges requests.
        cookie: name of the cookie that keeps the token. Browsers give one machine's cookies to all
            of its ports, so it should be another for each server.
    """

    def __init__(self, arguments: Sequence[str], access: Access, cookie: str) -> None:
        self._arguments = list(arguments)
        self._access = access
        self._cookie = cookie
        self._sockets: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        """What aiohttp runs."""
        app = web.Application(middlewares=[self._guard])
        static = str(files("textual_serve") / "static")
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/ws", self._socket),
                web.static("/static", static),
            ]
        )
        app.on_shutdown.append(self._close_sockets)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every request passes here, those of the web socket and those to nowhere as well."""
        refusal = self._access.refusal(
            host=request.host,
            origin=request.headers.get("Origin"),
            needs_origin=request.path == "/ws",
        )
        if refusal:
            return _private(web.Response(status=403, text=f"{refusal}\n"), request)
        given = request.query.get("token", "")
        if not self._access.knows(given or request.cookies.get(self._cookie, "")):
            text = "Open the address that moco-tui serve has printed; it ends with a token.\n"
            return _private(web.Response(status=403, text=text), request)
        if given and request.path == "/":
            # The token stays neither in the history of the browser nor in what it tells others.
            seen = web.Response(status=303, headers={"Location": "/"})
            seen.set_cookie(self._cookie, given, httponly=True, samesite="Strict")
            return _private(seen, request)
        return _private(await handler(request), request)

    async def _page(self, request: web.Request) -> web.Response:
        scheme = "wss" if request.secure else "ws"
        # By the name that the browser uses: a tunnel may begin at another port.
        socket = html.escape(f"{scheme}://{request.host}/ws")
        text = _PAGE.format(socket=socket, font=_FONT)
        return web.Response(text=text, content_type="text/html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """The app of one page, until one of the two ends."""
        if len(self._sockets) >= MOST_SESSIONS:
            text = f"{MOST_SESSIONS} pages are open already; close one of them.\n"
            return web.Response(status=503, text=text)
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS)
        self._sockets.add(socket)
        session = WebSession(self._arguments, write=socket.send_bytes, close=socket.close)
        try:
            await socket.prepare(request)
            width, height = (_cells(request.query.get(name)) for name in ("width", "height"))
            await session.start(width or 80, height or 24)
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await session.take(message.data)
        finally:
            try:
                await session.stop()
            finally:
                self._sockets.discard(socket)
        return socket

    async def _close_sockets(self, app: web.Application) -> None:
        """The server ends: the pages are told, and their apps end."""
        del app
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)


def _cells(text: str | None) -> int:
    """A size that a page has asked for; 0 where it makes no sense."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 3:
        return 0
    return int(text)


def _private(response: web.StreamResponse, request: web.Request) -> web.StreamResponse:
    """With headers that keep it to this page: nothing from elsewhere, in no frame, not stored."""
    if response.prepared:
        return response
    sockets = f"ws://{request.host} wss://{request.host}"
    response.headers.update(
        {
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
            "style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return response
