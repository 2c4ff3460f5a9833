"""Times the whole step: beside its peers, against the device, from the start, as sizes grow.

    python tests/benchmarks/throughput.py peers --device cpu       beside notebook and lightly
    python tests/benchmarks/throughput.py start --data folder:IMG  seconds to the first step, memory
    python tests/benchmarks/throughput.py scaling                  batch, queue, images, width
    python tests/benchmarks/throughput.py roofline                 operations and bytes, rates
    python tests/benchmarks/throughput.py parts                    each part of a CPU's step
    python tests/benchmarks/throughput.py fusion                   kernels and bytes, fused
    python tests/benchmarks/throughput.py curves                   fast and plain path, kNN
    python tests/benchmarks/throughput.py modes --device cuda      captured, fused, deterministic

Several may be named at once; ``--quick`` makes each a matter of a minute, with two repeats.
Everything of a section is measured in one run, the ways taking turns, and a figure is the median
of the repeats with its smallest and largest. Processor time stands beside wall time, since other
programs disturb it less. ``--json`` prints all of it. What each section does, and how the peers are
set up, is said in the modules in ``speed``.

lightly is optional: python -m pip install --no-deps --target DIR lightly lightly-utils
lightning-utilities, then run with PYTHONPATH=DIR. Without it a line says what is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2]))
# Before the imports: workers of data loaders, and lightly, warn into the figures on the terminal.
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=FutureWarning)

import torch  # noqa: E402

from engine.machine.cpu_count import available_cpus  # noqa: E402
from tests.benchmarks.speed import (  # noqa: E402
    curves,
    fusion,
    modes,
    ours,
    parts,
    peers,
    roofline,
    scaling,
    startup,
    timing,
)

SECTIONS = ("peers", "start", "scaling", "roofline", "parts", "fusion", "curves", "modes")


def say(text: str) -> None:
    """Progress, apart from the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def plain(value: Any) -> Any:
    """Figures as JSON takes them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value)} is no figure")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="+", choices=SECTIONS)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; 0: one for each core")
    parser.add_argument("--repeats", type=int, default=0, help="0: five, or two when quick")
    parser.add_argument("--seconds", type=float, default=0.0, help="least length of a turn")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", default="shapes", help="of start and curves: shapes, folder:...")
    parser.add_argument("--data-dir", type=Path, default=Path.home() / ".cache" / "moco-tui")
    parser.add_argument("--workers", type=int, default=0, help="of the peers; 0: one a core")
    parser.add_argument("--no-parts", action="store_true", help="peers: the whole step alone")
    parser.add_argument("--sweeps", nargs="+", default=[*scaling.SWEEPS, "encoder"])
    parser.add_argument("--largest", type=int, default=0, help="of a sweep; 0: all its sizes")
    parser.add_argument(
        "--kernels", nargs="+", default=[], help="scaling: values of MOCO_TUI_NATIVE, side by side"
    )
    parser.add_argument("--limit", type=int, default=0, help="curves: images; 0: 5,000")
    parser.add_argument("--epochs", type=int, default=0, help="curves; 0: what suits")
    parser.add_argument("--preset", help="of parts; notebook where none is named")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plain-seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["row"]:  # a row of scaling, in a process of its own
        spec = json.loads(sys.argv[2])
        print(json.dumps(scaling.one(**spec), default=plain))
        return
    options = arguments()
    device = torch.device(options.device)
    facts = {
        **timing.machine(torch.device("cpu")),
        "threads": options.threads or available_cpus(),
        "workers": options.workers or available_cpus(),
    }
    if device.type == "cuda" and not torch.cuda.is_available():
        for section in options.sections:
            print(f"{section} on {device}: not measured (torch sees no CUDA device here)")
        return
    facts = {**facts, **timing.machine(device)}
    results: dict[str, Any] = {"machine": facts}
    if not options.json:
        print(", ".join(f"{key} {value}" for key, value in facts.items()))
    for section in options.sections:
        results[section] = measure(section, options, device, facts)
        if not options.json:
            print(f"\n{section}\n{show(section, results[section])}", flush=True)
    if options.json:
        print(json.dumps(results, indent=2, default=plain))


def measure(
    section: str, options: argparse.Namespace, device: torch.device, facts: dict[str, Any]
) -> Any:
    """The figures of one section."""
    quick, threads = options.quick, facts["threads"]
    cuda = device.type == "cuda"
    repeats = options.repeats or (2 if quick else 5)
    seconds = options.seconds or (0.5 if quick else 2.0)
    base = ours.settings(str(device), threads)
    if section == "peers":
        return peers.measure(
            device,
            threads=threads,
            workers=facts["workers"],
            repeats=repeats,
            seconds=seconds,
            parts=not (options.no_parts or quick),
            drained=not quick,
            count=10_000 if quick else 50_000,
            say=say,
        )
    if section == "start":
        return startup.measure(
            options.data,
            options.data_dir,
            options.device,
            threads,
            repeats=repeats,
            steps=8 if quick else 40,
            say=say,
        )
    if section == "scaling":
        return {
            name: scaling.sweep(
                name,
                base,
                HERE,
                most=options.largest or (20_000 if quick else 1 << 40),
                repeats=repeats,
                seconds=seconds / 2,
                ways=options.kernels,
                say=say,
            )
            for name in options.sweeps
        }
    if section == "roofline":
        return roofline.measure(base, repeats=repeats, seconds=seconds, say=say)
    if section == "parts":
        preset = "notebook" if options.preset is None else options.preset
        return parts.measure(base, preset=preset, repeats=3 * repeats, say=say)
    if section == "fusion":
        return fusion.measure(base, say=say)
    if section == "modes":
        return modes.measure(base, HERE, cuda=cuda, repeats=repeats, seconds=seconds, say=say)
    return curves.measure(
        base,
        options.data,
        options.data_dir,
        limit=options.limit or (1280 if quick else 5000),
        epochs=options.epochs or (2 if quick else 10),
        seeds=options.seeds[:2] if quick else options.seeds,
        plain_seeds=options.plain_seeds,
        say=say,
    )


def show(section: str, result: Any) -> str:
    """The figures of one section, for people."""
    if section == "scaling":
        return "\n\n".join(scaling.show(name, rows) for name, rows in result.items())
    shown: dict[str, Callable[[Any], str]] = {
        "peers": peers.show,
        "start": startup.show,
        "roofline": roofline.show,
        "parts": parts.show,
        "curves": curves.show,
        "fusion": fusion.show,
        "modes": modes.show,
    }
    return shown[section](result)


if __name__ == "__main__":
    main()
