"""Programs of Slurm that say what a test tells them to say, in the words of the real ones.

What real ones printed (Slurm 22.05 on Debian 12) lies in ``tests/fixtures/slurm``; the tests marked
``slurm`` try the code with a real Slurm.
"""

from __future__ import annotations

from pathlib import Path

import pytest

PRINTED = Path(__file__).parent / "fixtures" / "slurm"
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")

_SCRIPT = """#!/bin/sh
echo "{name} $*" >> '{folder}/calls'
[ {name} = sbatch ] && cat > '{folder}/script'
[ -f '{folder}/{name}.err' ] && {{ cat '{folder}/{name}.err' >&2; exit 1; }}
[ -f '{folder}/{name}.out' ] && cat '{folder}/{name}.out'
exit 0
"""


def printed(name: str) -> str:
    """What a real program printed."""
    return (PRINTED / name).read_text()


class StandInSlurm:
    """Puts the programs first on PATH.

    Args:
        folder: is made, and holds them.
        patch: undoes it.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in PROGRAMS:
            program = folder / name
            program.write_text(_SCRIPT.format(name=name, folder=folder))
            program.chmod(0o755)
        patch.setenv("PATH", str(folder), prepend=":")
        self.says("sinfo", "main\ngpu\n")
        self.says("sbatch", "17\n")

    def says(self, program: str, text: str) -> None:
        """Has a program print this, and succeed."""
        (self.folder / f"{program}.err").unlink(missing_ok=True)
        (self.folder / f"{program}.out").write_text(text)

    def refuses(self, program: str, text: str) -> None:
        """Has a program print this on stderr, and fail."""
        (self.folder / f"{program}.err").write_text(text)

    def queue(self, *lines: str) -> None:
        """What ``squeue`` prints in the format that it is asked for."""
        self.says("squeue", "".join(f"{line}\n" for line in lines))

    @property
    def calls(self) -> list[str]:
        """Every call so far, a line each."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def asked(self, program: str) -> list[str]:
        """The calls of one program."""
        return [call for call in self.calls if call.split()[0] == program]

    @property
    def script(self) -> str:
        """The last one that was submitted."""
        return (self.folder / "script").read_text()
