"""The formats that an encoder can be written in: their files, and the packages that they need."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from engine.config.phrases import listed
from engine.errors import RunError


class EncoderFormat(Struct, frozen=True):
    """One of the formats.

    Attributes:
        name: as it is asked for.
        suffixes: that its file may have; the first is that of a file that nobody has named. Empty
            behind the first: any.
        packages: by suffix, what must be installed; ``""`` stands for every suffix.
        extra: of this program's packages, by which they are installed.
    """

    name: str
    suffixes: tuple[str, ...]
    packages: Mapping[str, tuple[str, ...]] = {}
    extra: str = ""


ENCODER_FORMATS: Mapping[str, EncoderFormat] = {
    made.name: made
    for made in (
        EncoderFormat("safetensors", (".safetensors",), {"": ("safetensors",)}, "safetensors"),
        EncoderFormat("torchvision", (".torchvision.pt",)),
        EncoderFormat("onnx", (".onnx",), {"": ("onnx", "onnxscript")}, "onnx"),
        EncoderFormat(
            "features", (".npz", ".parquet", ".csv"), {".parquet": ("pyarrow",)}, "parquet"
        ),
    )
}
"""By name."""


def default_target(format_: EncoderFormat, run: str) -> Path:
    """The file of a run that is exported without a name for it, in the working directory."""
    middle = ".features" if format_.name == "features" else ""
    return Path(f"{run}{middle}{format_.suffixes[0]}")


def check_suffix(format_: EncoderFormat, target: Path) -> str:
    """The suffix of a file, which says how features are written; that of other formats is free.

    Raises:
        RunError: when it says nothing.
    """
    suffix = target.suffix.lower()
    if len(format_.suffixes) > 1 and suffix not in format_.suffixes:
        found = f"the suffix {suffix}" if suffix else "no suffix"
        raise RunError(
            f"{target} has {found}, which says nothing of how the {format_.name} are written; it "
            f"must be one of {', '.join(format_.suffixes)}."
        )
    return suffix


def require_packages(format_: EncoderFormat, suffix: str = "") -> None:
    """Refuses a format whose packages are not installed; nothing is imported.

    Raises:
        RunError: with the line that installs them.
    """
    wanted = format_.packages.get("", ()) + format_.packages.get(suffix, ())
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise RunError(
            f"{listed(missing)} {verb} not installed; install the extra with "
            f"pip install 'moco-tui[{format_.extra}]'."
        )
