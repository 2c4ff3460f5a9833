"""Two users on one runs folder: what each may do with a run of the other, tried for real.

    sudo python tests/survival/users.py [--small] [--keep]

Needs root, to become the two users: two ids that no account has, with one group in common. Every
action is a process of its own under the id of its user. For umask 002 (a folder of a group) and 022
(one to look at) it prints a line for each action, what was expected and what came, and at the end
``tried N, as written N``; the exit code is 0 when both are the same. SECURITY.md has the table that
this checks. The full form goes through everything five times, with the users in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
GROUP = 61_000
FIRST, SECOND = 61_001, 61_002
PATIENCE = 120.0

HEAD = """
import fcntl, os, sys, time
from pathlib import Path
from engine.config.schema import PretrainConfig
from engine.files import replace_file
from engine.history.history import History
from engine.history.index import note_change
from engine.runs import RunFolder, create, own
from engine.runs.ownership import owned, users_of
root = Path(sys.argv[1])
run = RunFolder(root / sys.argv[2]) if len(sys.argv) > 2 else None
"""

CREATE = "print(create(root, 'pretrain', PretrainConfig(), name='first').id)"

# All that a trainer writes; it ends when it is asked to stop, or to be ended.
TRAIN = """
with own(run, on_change=note_change) as owner:
    owner.transition('running')
    owner.metrics(1, 0.1, {'train/loss': 9.0})
    owner.log('a line')
    owner.flush()
    replace_file(run.checkpoint_path, b'state')
    print('ready', flush=True)
    if sys.argv[3] == 'short':
        owner.transition('stopped')
    while sys.argv[3] == 'long':
        if owner.request() == 'stop':
            owner.acknowledge('stop', 1)
            owner.transition('stopped')
            break
        time.sleep(0.02)
print('ended', run.record().status)
"""

# Whoever may only look tries to keep the owner out, by any way of opening the lock.
HOLD = """
for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
    try:
        fcntl.flock(os.open(run.lock_path, mode), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        continue
    print('held')
    break
else:
    print('refused')
"""

ADOPTED = """
entries = History(root, read_only=True).list()
print(len(owned(entries, root, users_of())))
"""


@dataclass
class Account:
    """What was tried, and what was not as written."""

    tried: int = 0
    broken: list[str] = field(default_factory=list)

    def note(self, what: str, expected: str, got: str, said: str = "") -> None:
        """Count one action and print its line."""
        self.tried += 1
        right = expected == got
        print(f"{'ok ' if right else 'NOT'}  {what}: expected {expected}, got {got}", flush=True)
        if not right:
            self.broken.append(f"{what}: expected {expected}, got {got}. {said}")


class Users:
    """Starts processes as one of the two users, in a copy of the packages that both can read."""

    def __init__(self, work: Path) -> None:
        self.work = work
        packages = work / "packages"
        for name in ("engine", "moco_tui"):
            shutil.copytree(
                REPOSITORY / name, packages / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        libraries = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
        self._path = os.pathsep.join([str(packages), *libraries])
        self._python = self._usable_python()

    def _usable_python(self) -> str:
        """An interpreter that other users may execute; that of a home folder they may not."""
        for python in (sys.executable, "/usr/bin/python3"):
            with contextlib.suppress(OSError):
                code = "import msgspec, tinydb, click, tqdm, engine.runs, moco_tui.cli"
                done = self._run([python, "-c", code], FIRST, 0o022)
                if done.returncode == 0:
                    return python
        raise SystemExit("skipped: other users may not execute this interpreter")

    def _options(self, user: int, umask: int) -> dict[str, object]:
        return {
            "user": user,
            "group": GROUP,
            "extra_groups": [],
            "umask": umask,
            "cwd": "/",
            "text": True,
            "env": {
                "PATH": os.defpath,
                "HOME": str(self.work),
                "PYTHONPATH": self._path,
                "PYTHONDONTWRITEBYTECODE": "1",
                "LC_ALL": "C.UTF-8",
            },
        }

    def _run(self, command: list[str], user: int, umask: int) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            **self._options(user, umask),  # type: ignore[call-overload]
        )
        return done

    def code(
        self, user: int, umask: int, code: str, *args: object
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code to its end."""
        return self._run([self._python, "-c", HEAD + code, *map(str, args)], user, umask)

    def call(self, user: int, umask: int, *args: object) -> subprocess.CompletedProcess[str]:
        """Run a command of the program."""
        return self._run([self._python, "-m", "moco_tui", *map(str, args)], user, umask)

    @contextlib.contextmanager
    def training(self, user: int, umask: int, *args: object) -> Iterator[subprocess.Popen[str]]:
        """A trainer that works until it is asked to stop, or killed."""
        process: subprocess.Popen[str] = subprocess.Popen(
            [self._python, "-c", HEAD + TRAIN, *map(str, args), "long"],
            stdout=subprocess.PIPE,
            **self._options(user, umask),  # type: ignore[call-overload]
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.communicate()


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """How a command ended: a refusal is exit code 2 and one line that says it."""
    if done.returncode == 0:
        return "done"
    one_line = done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    if done.returncode == 2 and one_line and "permission is denied" in done.stderr:
        return "refused"
    return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"


def took_over(done: subprocess.CompletedProcess[str]) -> str:
    """How a takeover ended."""
    if done.returncode == 0 and "ended stopped" in done.stdout:
        return "done"
    last = done.stderr.strip().rpartition("\n")[2]
    return "refused" if "permission is denied" in last else last


def try_all(users: Users, root: Path, umask: int, pair: tuple[int, int], account: Account) -> None:
    """Everything that the second user may try with a run of the first."""
    mine, other = pair
    member = umask == 0o002
    allowed = "done" if member else "refused"
    here = ("--runs-dir", root)

    def note(what: str, expected: str, got: str, said: str = "") -> None:
        account.note(f"umask {umask:03o}, {what}", expected, got, said)

    made = users.code(mine, umask, CREATE, root)
    id_ = made.stdout.strip()
    note("create", "made", "made" if id_ else made.stderr)

    def state(user: int) -> str:
        done = users.call(user, umask, "show", id_, "--json", *here)
        found = [s for s in ("running", "lost", "stopped") if f'"status": "{s}"' in done.stdout]
        return found[0] if found else outcome(done)

    with users.training(mine, umask, root, id_) as trainer:
        looks: list[tuple[object, ...]] = [("runs",), ("show", id_), ("export", id_)]
        looks += [("show", id_, "--log", 5), ("show", id_, "--json")]
        for args in looks:
            note(f"{args[0]} by another", "done", outcome(users.call(other, umask, *args, *here)))
        note("state while it runs, seen by another", "running", state(other))
        if not member:
            held = users.code(other, umask, HOLD, root, id_)
            note("hold its lock", "refused", held.stdout.strip() or held.stderr)
        for change in (("tag", id_, "+x"), ("note", id_, "text"), ("rename", id_, "second")):
            done = users.call(other, umask, *change, *here)
            note(f"{change[0]} by another", allowed, outcome(done))
        done = users.call(mine, umask, "tag", id_, "+mine", *here)
        note("tag by its user afterwards", "done", outcome(done), done.stderr)
        done = users.call(other, umask, "stop", id_, *here)
        note("stop by another", allowed, outcome(done), done.stderr)
        if member:
            said, _ = trainer.communicate(timeout=PATIENCE)
            note("the trainer stops", "ended stopped", said.strip())
    done = users.code(other, umask, TRAIN, root, id_, "short")
    note("take over by another", allowed, took_over(done), done.stderr)
    done = users.code(mine, umask, TRAIN, root, id_, "short")
    note("take over by its user afterwards", "done", took_over(done), done.stderr)
    with users.training(mine, umask, root, id_):
        pass  # killed
    note("state when it was killed, seen by another", "lost", seen_lost(users, root, id_, pair))
    found = users.code(other, umask, ADOPTED, root)
    note("runs that a study of another takes up", "0", found.stdout.strip(), found.stderr)
    found = users.code(mine, umask, ADOPTED, root)
    note("runs that a study of its user takes up", "1", found.stdout.strip(), found.stderr)
    done = users.call(other, umask, "delete", id_, *here)
    note("delete by another", allowed, outcome(done), done.stderr)
    if not member:
        users.call(mine, umask, "delete", id_, *here)
    done = users.call(other, umask, "restore", id_, *here)
    note("restore by another", allowed, outcome(done), done.stderr)
    if not member:
        done = users.call(mine, umask, "restore", id_, *here)
        note("restore by its user", "done", outcome(done), done.stderr)
    done = users.code(mine, umask, TRAIN, root, id_, "short")
    note("take over by its user at the end", "done", took_over(done), done.stderr)
    done = users.call(mine, umask, "delete", id_, *here)
    note("delete by its user", "done", outcome(done), done.stderr)


def seen_lost(users: Users, root: Path, id_: str, pair: tuple[int, int]) -> str:
    """The state of a killed run for the other user."""
    done = users.code(pair[1], 0o022, "print(run.status())", root, id_)
    return done.stdout.strip() or done.stderr


def modes(root: Path, umask: int) -> list[str]:
    """Files and folders whose rights are others than the umask leaves; locks have fewer."""
    wrong = []
    for path in [root, *root.rglob("*")]:
        base = 0o777 if path.is_dir() else 0o666
        expected = base & ~umask
        if path.name.endswith("lock"):
            writers = expected & 0o222
            expected = writers | writers << 1
        got = path.lstat().st_mode & 0o777
        if got != expected:
            wrong.append(f"{path.relative_to(root)} {got:03o}, expected {expected:03o}")
    return wrong


def main() -> int:
    """Run everything; the exit code."""
    parser = argparse.ArgumentParser(description="Two users on one runs folder.")
    parser.add_argument("--small", action="store_true", help="once through everything")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    if os.geteuid():
        print("skipped: only root can become two users")
        return 0
    account = Account()
    work = Path(tempfile.mkdtemp(prefix="moco-tui-users-"))
    os.umask(0o022)
    try:
        work.chmod(0o755)
        users = Users(work)
        for number in range(1 if options.small else 5):
            pair = (FIRST, SECOND) if number % 2 == 0 else (SECOND, FIRST)
            for umask in (0o002, 0o022):
                home = work / f"{number}-{umask:03o}"
                home.mkdir()
                home.chmod(0o777 & ~umask)
                os.chown(home, pair[0], GROUP)
                try_all(users, home / "runs", umask, pair, account)
                wrong = modes(home / "runs", umask)
                account.note(f"umask {umask:03o}, rights of all files", "[]", str(wrong))
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    for line in account.broken:
        print(f"not as written: {line}")
    print(f"tried {account.tried}, as written {account.tried - len(account.broken)}")
    return 1 if account.broken else 0


if __name__ == "__main__":
    sys.exit(main())
