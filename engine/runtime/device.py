"""Where a run computes: the device, the precision and the threads, resolved once and recorded."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from typing import Any

import torch

from engine.config.run_schema import RuntimeConfig
from engine.errors import ConfigError
from engine.machine.card_builds import not_seen
from engine.machine.cpu_count import available_cpus
from engine.native.library import LEVELS, OFF, available, level
from engine.runtime.process_group import Ranks, joined_ranks
from engine.runtime.torch_cards import architectures, first_free, torch_cards, unusable


@dataclass(frozen=True)
class Runtime:
    """A resolved ``RuntimeConfig``.

    Attributes:
        device: the torch device.
        name: the device for people.
        bfloat16: whether the backbone runs in bfloat16.
        threads: CPU threads of an operation.
        notice: a sentence that the person should see, or empty.
        kernels: level of the kernels in C that a CPU uses (``engine.native``), or ``off``.
        ranks: the processes that compute the run together; None where this one does alone.
        steps_so_far: how an earlier part of a pretraining computed its steps (``StepKind``), or
            empty.
    """

    device: torch.device
    name: str
    bfloat16: bool
    threads: int
    notice: str = ""
    kernels: str = OFF
    ranks: Ranks | None = None
    steps_so_far: str = ""

    def facts(self) -> dict[str, Any]:
        """What a repeat on the same machine needs to know, as builtin values."""
        import torchvision

        return {
            "torch": str(torch.__version__),  # a subclass of str, which msgspec does not encode
            "torchvision": torchvision.__version__,
            "python": platform.python_version(),
            "threads": self.threads,
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "kernels": self.kernels,
            "cuda": torch.version.cuda or "",
            **({} if self.ranks is None else self.ranks.facts()),
        }


def resolve_runtime(config: RuntimeConfig, *, recorded: dict[str, Any] | None = None) -> Runtime:
    """Finds the device, precision and thread count that ``config`` asks for.

    Args:
        config: what was asked.
        recorded: the facts of an earlier part of the same run; its thread count, its precision
            and its way of computing steps are used again, since they change the last bits of the
            numbers.

    Raises:
        ConfigError: when the device is not there.
    """
    ranks, recorded = joined_ranks(), recorded or {}
    if ranks is None:
        device, notice = _device(config.device)
    else:
        device, notice = ranks.device, ""
    # Of as many ranks: with another number of them the last bits change in any case.
    known = recorded.get("ranks", 1) == (1 if ranks is None else ranks.world)
    threads = int((recorded.get("threads") if known else 0) or config.threads or _share(ranks))
    precision = str(recorded.get("precision") or config.precision)
    bfloat16 = _device_has_fast_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    kernels = _kernels(recorded) if device.type == "cpu" else OFF
    so_far = str(recorded.get("step", ""))
    return Runtime(device, _name(device), bfloat16, threads, notice, kernels, ranks, so_far)


def _share(ranks: Ranks | None) -> int:
    """The cores that this process may use; ranks of one node divide them."""
    return max(1, available_cpus() // (1 if ranks is None else ranks.place.local_world))


def _kernels(recorded: dict[str, Any]) -> str:
    """The level of the kernels: that of the run so far, whatever is asked for now."""
    if not recorded.get("threads"):  # nothing was computed yet
        return level()
    used, best = str(recorded.get("kernels", OFF)), available()  # lacking: there were none then
    if used not in LEVELS or best == OFF:
        return OFF
    return LEVELS[min(LEVELS.index(used), LEVELS.index(best))]


def apply_runtime(runtime: Runtime, *, deterministic: bool) -> None:
    """Sets what belongs to the whole process: threads, determinism, TF32.

    One training thread a process is the rule that makes this safe.
    """
    torch.set_num_threads(runtime.threads)
    if runtime.device.type == "cuda":
        # Set for every run: cuBLAS and torch read it once in a process, and a deterministic run may
        # follow another there. The value is the default on Hopper cards.
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Logits stay in float32: TF32 rounds to 10 bits, and dividing by the temperature multiplies
        # that error. Convolutions may use it unless exact repeats are wanted.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = not deterministic
        torch.backends.cudnn.benchmark = not deterministic
        torch.use_deterministic_algorithms(deterministic)


def _device(name: str) -> tuple[torch.device, str]:
    """The device that a setting names, and a notice for the user or an empty text.

    Raises:
        ConfigError: when it is not there.
    """
    if name == "auto":
        return _first_device()
    if name.startswith("cuda"):
        return _card(name), ""
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "runtime.device is mps, but torch sees no Apple GPU here; use auto or cpu.",
            "runtime.device",
        )
    return torch.device(name), ""


def _first_device() -> tuple[torch.device, str]:
    """The first card that nobody trains on, else the first that torch can use, else the CPU."""
    cards, built = torch_cards(), architectures()
    why = [unusable(card, built) for card in cards]
    card = first_free([card for card, reason in zip(cards, why, strict=True) if not reason])
    if card is not None:
        return torch.device("cuda", card.number), ""
    reason = why[0] if cards else _unseen_card()
    return torch.device("cpu"), reason and f"Running on the CPU: {reason}"


def _card(name: str) -> torch.device:
    """The card that a setting names.

    Raises:
        ConfigError: when it is not there, or torch has no code for it.
    """
    cards = torch_cards()
    if not cards:
        raise ConfigError(
            f"runtime.device is {name}, but torch sees no CUDA device here; "
            "use auto or cpu, or check the driver.",
            "runtime.device",
        )
    index = int(name.partition(":")[2] or torch.cuda.current_device())
    if index >= len(cards):
        there = "is only cuda:0" if len(cards) == 1 else f"are only cuda:0 to {cards[-1].device}"
        raise ConfigError(f"runtime.device is {name}, but there {there}.", "runtime.device")
    if why := unusable(cards[index], architectures()):
        raise ConfigError(f"runtime.device is {name}: {why}", "runtime.device")
    return torch.device("cuda", index)


def _unseen_card() -> str:
    """Why torch sees no card where the driver lists one, else empty."""
    with contextlib.suppress(Exception):  # without a driver or its library there is no card
        import pynvml

        pynvml.nvmlInit()
        try:
            if pynvml.nvmlDeviceGetCount():
                card = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
                driver = str(pynvml.nvmlSystemGetDriverVersion())
                version = str(torch.__version__)
                return not_seen(card, version, torch.version.cuda, driver)
        finally:
            pynvml.nvmlShutdown()
    return ""


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return str(device)


def fast_bfloat16() -> bool:
    """Whether this processor computes convolutions faster in bfloat16 than in float32.

    Measured: 1.4 times with AVX512-BF16. Processors without such instructions only imitate it, and
    so does one whose torch is held back (``ATEN_CPU_CAPABILITY``).
    """
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return False
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.11 or so
    found = get_capabilities() if get_capabilities else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _device_has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return fast_bfloat16()
    return False
