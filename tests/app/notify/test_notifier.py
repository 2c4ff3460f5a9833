"""A note goes out in each way that the person's configuration names, and none harms another."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moco_tui.notify.notifier import Notifier, shown_address
from moco_tui.notify.run_note import note_of, sample_note

from ...receiver import Receiver
from ..conftest import write_run


def test_without_a_configuration_nothing_is_sent(config: Path) -> None:
    assert not Notifier().wants("finished")
    assert Notifier().send(sample_note()) == []
    shown: list[str] = []

    def show(way: str, title: str, text: str) -> str:
        shown.append(f"{way}|{title}|{text}")
        return ""

    with_terminal = Notifier(show)
    assert with_terminal.wants("finished")
    assert with_terminal.send(sample_note()) == [("terminal", "")]
    assert shown[0].startswith("auto|moco-tui: finished|This is a test")


def test_the_command_finds_the_run_in_its_environment(receiver: Receiver) -> None:
    assert Notifier().wants("failed")
    assert Notifier().send(sample_note()) == [("command", "")]
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_ID"] == "test00"
    assert note["MOCO_TUI_ACCURACY"] == "57.3"
    assert note["arguments"] == "a b"


def test_what_the_person_does_not_want_is_not_sent(receiver: Receiver, config: Path) -> None:
    config.write_text(receiver.configured('on = ["failed"]'))
    assert not Notifier().wants("finished")
    assert Notifier().send(sample_note()) == []
    assert receiver.notes() == []
    assert Notifier().send(sample_note(), anyway=True) == [("command", "")]


def test_a_change_of_the_configuration_holds_at_the_next_note(
    receiver: Receiver, config: Path
) -> None:
    """A trainer lives for days."""
    notifier = Notifier()
    config.write_text("")
    assert notifier.send(sample_note()) == []
    config.write_text(receiver.configured())
    assert notifier.send(sample_note()) == [("command", "")]


def test_a_way_that_fails_leaves_the_others(config: Path, tmp_path: Path) -> None:
    def broken(way: str, title: str, text: str) -> str:
        raise RuntimeError("no terminal")

    receiver = Receiver(tmp_path / "failing", end="exit 7")
    config.write_text(f'[notify]\ncommand = ["{receiver.script}"]\n')
    found = Notifier(broken).send(sample_note())
    assert found[0] == ("notification", "RuntimeError: no terminal")
    assert found[1].way == "command"
    assert "ended with code 7" in found[1].problem


def test_a_command_that_hangs_is_ended(config: Path) -> None:
    config.write_text('[notify]\ncommand = ["/bin/sleep", "600"]\nseconds = 1\n')
    (found,) = Notifier().send(sample_note())
    assert "took more than 1 s" in found.problem


def test_of_several_terminals_one_notifies_of_an_event(config: Path, root: Path) -> None:
    """Of a run that is trained in one terminal and looked at in others."""
    run = write_run(root, "aaaaaa")
    note = note_of(run, "finished")
    shown: list[str] = []

    def show(way: str, title: str, text: str) -> str:
        shown.append(text)
        return ""

    for _ in range(3):
        Notifier(show).send(note, run)
    assert shown == [note.message]
    Notifier(show).send(note_of(run, "warning", "It fell.", "collapse"), run)
    Notifier(show).send(note_of(run, "warning", "It rose.", "shortcut"), run)
    assert len(shown) == 3, "another event is told by itself"


# ---------------------------------------------------------------------------- Apprise


STAND_IN = """
import json, pathlib

class Apprise:
    def add(self, url):
        self.url = url
        return not url.startswith("nonsense")

    def notify(self, *, title, body):
        if "hang" in self.url:
            import time
            time.sleep(600)
        path = pathlib.Path(__file__).with_name("sent")
        with path.open("a") as file:
            file.write(json.dumps([self.url, title, body]) + "\\n")
        return "refuse" not in self.url
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the place of Apprise, which keeps what it is to send."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "apprise.py").write_text(STAND_IN)
    monkeypatch.setattr(
        "moco_tui.notify.notifier.child_environment",
        lambda: {"PYTHONPATH": f"{folder}:{':'.join(sys.path)}"},
    )
    return folder


def test_each_address_says_what_became_of_it_and_none_is_shown(
    config: Path, stand_in: Path
) -> None:
    addresses = ["mailto://me:secret@x", "nonsense://secret", "json://refuse/secret"]
    config.write_text(f"[notify]\napprise = {json.dumps(addresses)}\nseconds = 60\n")
    found = Notifier().send(sample_note())
    assert found == [
        ("mailto://...", ""),
        ("nonsense://...", "Apprise does not know such an address"),
        ("json://...", "it was not delivered"),
    ]
    sent = [json.loads(line) for line in (stand_in / "sent").read_text().splitlines()]
    assert sent[0] == [addresses[0], "moco-tui: finished", sample_note().message]
    assert shown_address("secret") == "..."


def test_a_server_that_hangs_and_a_missing_package_are_said(config: Path, stand_in: Path) -> None:
    config.write_text('[notify]\napprise = ["json://hang/secret"]\nseconds = 1\n')
    (found,) = Notifier().send(sample_note())
    assert found == ("json://...", "Apprise took more than 1 s and was ended")
    (stand_in / "apprise.py").write_text("raise ImportError")
    config.write_text('[notify]\napprise = ["json://x"]\nseconds = 60\n')
    (found,) = Notifier().send(sample_note())
    assert "pip install 'moco-tui[notify]'" in found.problem
    (stand_in / "apprise.py").write_text("raise SystemExit(3)")
    (found,) = Notifier().send(sample_note())
    assert "Apprise ended with code 3" in found.problem


@pytest.fixture
def server() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server on this machine that keeps the JSON that is posted to it."""
    posted: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    found = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found.server_port, posted
    found.shutdown()
    thread.join()
    found.server_close()


def test_apprise_itself_delivers(config: Path, server: tuple[int, list[dict[str, str]]]) -> None:
    pytest.importorskip("apprise")
    port, posted = server
    config.write_text(f'[notify]\napprise = ["json://127.0.0.1:{port}/x"]\nseconds = 60\n')
    assert Notifier().send(sample_note()) == [("json://...", "")]
    assert posted[0]["title"] == "moco-tui: finished"
    assert posted[0]["message"] == sample_note().message
