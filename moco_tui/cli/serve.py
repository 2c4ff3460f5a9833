"""The command that shows the app in a browser."""

from __future__ import annotations

import asyncio
import getpass
import signal
import socket

import click

from engine.errors import UserError
from engine.files import reason
from moco_tui.cli.options import Settings, shared_options
from moco_tui.cli.output import clean, say
from moco_tui.training.detached import child_command

HOST = "127.0.0.1"
PORT = 8000


@click.command()
@click.option(
    "--host",
    metavar="ADDRESS",
    default=HOST,
    show_default=True,
    help="Listen here; any other than this machine's own loopback is reached from outside.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port; 0 takes any free one.",
)
@click.option("--read-write", is_flag=True, help="Let the page start, stop and change runs.")
@shared_options
@click.pass_obj
def serve(settings: Settings, host: str, port: int, read_write: bool) -> int:
    """Show the app in a browser, through an SSH tunnel from anywhere.

    Prints the address, which has a token that is made anew each time: who does not know it sees
    nothing. Changes nothing unless --read-write is given. Ctrl+C ends it; what a page has started
    goes on in the background.
    """
    if read_write and settings.read_only:
        raise UserError("--read-write and --read-only exclude each other; give one of them.")
    try:
        import aiohttp  # noqa: F401
        import textual_serve  # noqa: F401
    except ImportError as error:
        raise UserError(
            "moco-tui serve needs textual-serve, which is not installed; "
            "pip install 'moco-tui[serve]' brings it."
        ) from error
    listening = _listen(host, port)
    try:
        asyncio.run(_serve(settings, listening, host, read_write=read_write))
    finally:
        listening.close()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket at this address.

    Raises:
        UserError: there is no such address, it is not this machine's, or the port is taken.
    """
    try:
        flags = socket.AI_PASSIVE
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        raise UserError(
            f"--host {host} is no address; {HOST} is this machine for itself, 0.0.0.0 all of its "
            "addresses."
        ) from None
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"The server cannot listen on port {port} of {host}: {reason(error)}; another --port "
            "may be free, and --port 0 takes one that is."
        ) from None
    return listening


async def _serve(
    settings: Settings, listening: socket.socket, host: str, *, read_write: bool
) -> None:
    """Serves until a signal comes."""
    from aiohttp import web

    from moco_tui.cli.web_access import Access, is_loopback, new_token
    from moco_tui.cli.web_server import WebServer

    address, port = listening.getsockname()[:2]
    token = new_token()
    outside = not is_loopback(address)
    names = [socket.gethostname(), socket.getfqdn(), host] if outside else []
    server = WebServer(
        _app_arguments(settings, read_write=read_write), Access(token, names), f"moco_tui_{port}"
    )
    runner = web.AppRunner(server.application(), access_log=None)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup has it ignored
            loop.add_signal_handler(number, ended.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        _tell(address, port, token, outside=outside, read_write=read_write)
        await ended.wait()
    finally:
        say("ending")
        await runner.cleanup()


def _app_arguments(settings: Settings, *, read_write: bool) -> list[str]:
    """What starts the app for a page, with the places of this call."""
    places = ["--runs-dir", str(settings.root), "--data-dir", str(settings.data)]
    device = ["--device", settings.device] if settings.device else []
    only = [] if read_write else ["--read-only"]
    return child_command(*places, *device, *only, "_served")


def _tell(address: str, port: int, token: str, *, outside: bool, read_write: bool) -> None:
    """Where the page is, and how one gets there from another machine."""
    bare = f"[{address}]" if ":" in address else address
    # Not localhost, which may lead to ::1 first: there somebody else could listen for the token.
    near = socket.gethostname() if address in ("0.0.0.0", "::") else bare
    print(f"http://{near}:{port}/?token={token}", flush=True)
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    if outside:
        say("reached from outside, and nothing that is sent is encrypted: whoever listens on the")
        say(f"way learns the token; without --host, an SSH tunnel leads here: {clean(who)}")
    else:
        say("from another machine first this, then the address above in a browser there:")
        say(clean(f"ssh -N -L {port}:{bare}:{port} {who}"))
    say("changes runs" if read_write else "changes nothing; --read-write lets it")
