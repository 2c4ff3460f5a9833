"""``moco-tui serve``: what it prints, and what it refuses."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ..environment import with_packages
from .conftest import Call

pytest.importorskip("textual_serve")


def test_it_prints_an_address_that_opens_and_the_way_there(root: Path) -> None:
    command = [sys.executable, "-m", "moco_tui", "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=with_packages(MOCO_TUI_RUNS=str(root)),
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            address = server.stdout.readline().strip()
            found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43,})", address)
            assert found, address
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            assert browser.open(address, timeout=30).status == 200
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(address[:-1], timeout=30)
        finally:
            # Not SIGINT, which this ignores where the tests are in the background of a script.
            server.send_signal(signal.SIGTERM)
            try:
                out, err = server.communicate(timeout=60)
            finally:
                server.kill()
    assert server.returncode == 0
    assert out == "", "nothing but the address"
    assert f"ssh -N -L {found[1]}:127.0.0.1:{found[1]} " in err
    assert "changes nothing; --read-write lets it" in err
    assert found[2] not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "no such host"], "--host no such host is no address"),
        (["--host", "192.0.2.1"], "cannot listen on port 8000 of 192.0.2.1"),  # RFC 5737
        (["--host", ""], "--host  is no address"),
        (["--port", "65536"], "65536"),
        (["--port", "many"], "many"),
        (["--read-write", "--read-only"], "exclude each other"),
    ],
)
def test_what_cannot_be_is_one_sentence(call: Call, options: list[str], sentence: str) -> None:
    called = call("serve", *options)
    assert called.code == 2
    assert sentence in called.err
    assert called.err.count("\n") == 1
    assert called.out == ""


def test_a_port_that_is_taken_is_one_sentence(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        called = call("serve", "--port", str(port))
    assert called.code == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in called.err
    assert "--port 0" in called.err
    assert called.err.count("\n") == 1


def test_without_the_extra_it_says_how_to_get_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    called = call("serve")
    assert called.code == 2
    assert "pip install 'moco-tui[serve]'" in called.err


def test_the_app_of_a_page_changes_something_only_when_asked() -> None:
    from moco_tui.cli.options import Settings
    from moco_tui.cli.serve import _app_arguments

    settings = Settings(runs_dir="/a b; c", device="cpu")
    assert "--read-only" in _app_arguments(settings, read_write=False)
    arguments = _app_arguments(settings, read_write=True)
    assert "--read-only" not in arguments
    assert arguments[arguments.index("--runs-dir") + 1] == "/a b; c", "nothing is quoted"
    assert arguments[arguments.index("--device") + 1] == "cpu"


def test_nobody_starts_the_app_of_a_page_by_hand(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    called = call("_served")
    assert called.code == 2
    assert "moco-tui serve" in called.err
