"""Commands of ``moco-tui`` in forked processes, which need not import torch once more.

A script of kills starts hundreds of processes, and importing torch takes each seconds. So the
script itself imports all that a command needs, runs no operation of torch and starts no thread
(a forked child has neither), and every command is a fork of it. A detached trainer that a command
starts is a process like any other.

A fork can be traced: it waits until strace is attached, which then injects SIGKILL or an error
into the n-th system call of a kind.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# Before torch is imported. A forked child cannot use OpenMP's threads of its parent.
os.environ["OMP_NUM_THREADS"] = "1"

from moco_tui.cli import COMMANDS, main
from moco_tui.cli.command_table import load_command

for _name in COMMANDS:
    load_command(_name)
# What is imported when it is first needed; the optimizer imports torch._dynamo, in two seconds.
for _name in (
    *("torch._dynamo", "torchvision", "engine.jobs.execute"),
    *("moco_tui.training.signals", "moco_tui.app_life", "moco_tui.screens.monitor_screen"),
    # What a registry imports: an error that is injected must not hit the source of a module.
    *("engine.data.image_folder", "engine.data.shapes", "engine.models.convnet"),
    *("engine.probe.logistic_head", "engine.probe.linear", "engine.probe.supervised"),
    *(f"engine.augment.{name}" for name in ("crop", "rotation", "flip")),
    *(f"engine.augment.{name}" for name in ("blur", "color_jitter", "grayscale")),
):
    importlib.import_module(_name)

MARK = "MOCO_SURVIVAL_TRIAL"
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)


@dataclass
class Done:
    """A process that has ended.

    Attributes:
        args: what it was called with.
        code: its exit code; negative for a signal.
        out, err: what it printed, as bytes.
        seconds: from its start to its end.
    """

    args: tuple[str, ...]
    code: int
    out: bytes
    err: bytes
    seconds: float

    def __str__(self) -> str:
        said = self.err.decode(errors="replace").strip()[-2000:]
        return f"{' '.join(self.args)}: exit code {self.code}: {said}"


class Process:
    """A fork that runs a command.

    Args:
        work: what it does; its return value is the exit code.
        args: the words to name it by.
        output: the beginning of the paths of what it prints.
        terminal: a terminal to make the controlling one, as descriptor; closed here.
        injected: arguments for strace, which is attached before the work begins.
    """

    def __init__(
        self,
        work: Callable[[], int],
        args: Sequence[str],
        output: Path,
        *,
        terminal: int | None = None,
        injected: Sequence[str] = (),
    ) -> None:
        self.args, self._output = tuple(args), output
        self.trace_path = output.with_suffix(".strace")
        for suffix in (".out", ".err"):  # a fork that is killed at once makes none
            output.with_suffix(suffix).touch()
        sys.stdout.flush()
        sys.stderr.flush()
        ready, go = os.pipe()
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                os.close(go)
                _become_command(output, terminal)
                os.read(ready, 1)
                os.close(ready)
                code = work()
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:  # as the interpreter does it
                sys.excepthook(*sys.exc_info())
                code = 1
            finally:
                with contextlib.suppress(BaseException):
                    sys.stderr.flush()
                os._exit(code)
        os.close(ready)
        if terminal is not None:
            os.close(terminal)
        self._code: int | None = None
        self._tracer: subprocess.Popen[bytes] | None = None
        if injected:
            self._trace(injected)
        self.began = time.monotonic()
        os.write(go, b"!")
        os.close(go)

    def _trace(self, injected: Sequence[str]) -> None:
        command = ["strace", "-f", "-y", "-q", "-o", str(self.trace_path), "-p", str(self.pid)]
        with self._output.with_suffix(".strace-says").open("wb") as said:
            self._tracer = subprocess.Popen([*command, *injected], stderr=said)
        status = Path(f"/proc/{self.pid}/status")
        deadline = time.monotonic() + 20
        while "TracerPid:\t0\n" in status.read_text():
            if self._tracer.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise OSError(self._output.with_suffix(".strace-says").read_text().strip())
            time.sleep(0.005)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it works."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def wait(self, seconds: float = 120.0) -> Done:
        """What it printed, once it has ended.

        Raises:
            AssertionError: it did not end in time; it is killed.
        """
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{' '.join(self.args)}: still there after {seconds:g} s")
            time.sleep(0.003)
        took = time.monotonic() - self.began
        if self._tracer is not None:
            # It follows detached trainers until they end; they are waited for by who wants that.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._tracer.wait(0.2)
        assert self._code is not None
        out, err = (self._output.with_suffix(s).read_bytes() for s in (".out", ".err"))
        return Done(self.args, self._code, out, err, took)

    def traced(self, seconds: float = 60.0) -> list[str]:
        """The lines of strace, once it has ended."""
        assert self._tracer is not None
        self._tracer.wait(seconds)
        return self.trace_path.read_text(errors="replace").splitlines()


def _become_command(output: Path, terminal: int | None) -> None:
    """Streams, session and handlers of a process that a shell has started."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)
    # strace is no ancestor of the fork: kernels with Yama want that to be allowed.
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    gc.enable()
    if terminal is None:
        streams = [os.open(os.devnull, os.O_RDONLY)]
        for suffix in (".out", ".err"):
            streams.append(
                os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            )
    else:
        for suffix in (".out", ".err"):
            output.with_suffix(suffix).write_bytes(b"")
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        streams = [terminal, terminal, terminal]
    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
    for descriptor in {*streams} - {0, 1, 2}:
        os.close(descriptor)
    # New ones: those of the parent remember whether its own could seek.
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        opened = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)


@dataclass(frozen=True)
class Place:
    """Where commands work.

    Attributes:
        root: the runs folder.
        data: the data folder.
        scratch: where what they print is kept.
    """

    root: Path
    data: Path
    scratch: Path

    def start(
        self,
        *args: str,
        terminal: int | None = None,
        injected: Sequence[str] = (),
        mark: str = "",
    ) -> Process:
        """A command in a fork; see ``Process``."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        number = len(list(self.scratch.glob("*.err")))
        output = self.scratch / f"{number:04d}-{args[0] if args else 'app'}"

        def work() -> int:
            os.environ[MARK] = mark or self.root.name
            try:
                main(["--runs-dir", str(self.root), "--data-dir", str(self.data), *args])
            except SystemExit as left:
                return left.code if isinstance(left.code, int) else 0
            return 0

        return Process(work, args, output, terminal=terminal, injected=injected)

    def call(self, *args: str, seconds: float = 120.0) -> Done:
        """A command, waited for."""
        return self.start(*args).wait(seconds)

    def python(self, work: Callable[[], int], name: str, seconds: float = 120.0) -> Done:
        """A function in a fork: for what uses torch."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        number = len(list(self.scratch.glob("*.err")))
        return Process(work, (name,), self.scratch / f"{number:04d}-{name}").wait(seconds)


def why_no_strace() -> str:
    """Why nothing can be traced here; empty where it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    done = subprocess.run(["strace", "-qqe", "none", "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""
