"""The Markdown beside an exported file: what it is, how good it is, and how to load it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from engine.runs import Record
from engine.runs.provenance import merged
from engine.text import one_line

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
_LOADING = {
    "safetensors": """from safetensors.torch import load_file

state = load_file({file!r})  # backbone.* and, where there is a head, projection_head.*""",
    "torchvision": """import torch, torchvision

net = torchvision.models.{encoder}()
{stem}net.fc = torch.nn.Identity()
net.load_state_dict(torch.load({file!r}, weights_only=True), strict=True)
net.eval()  # normalised images (N, 3, {size}, {size}) to features (N, {width})""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession({file!r})
features, *embedding = session.run(None, {{"images": images}})
# images: float32 (N, 3, {size}, {size}), normalised; features: (N, {width})""",
    ".npz": """import numpy

table = numpy.load({file!r})
table["train_features"], table["train_labels"], table["class_names"]""",
    ".parquet": """import pyarrow.parquet

table = pyarrow.parquet.read_table({file!r})  # split, file, label, class, features""",
    ".csv": """import csv

rows = list(csv.DictReader(open({file!r})))  # split, file, label, class, f0, f1, ...""",
}
_CIFAR_STEM = """net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
net.maxpool = torch.nn.Identity()
"""


def model_card(
    record: Record,
    facts: Mapping[str, str],
    *,
    title: str,
    format_: str,
    file: str,
    suffix: str,
    command: str,
    probes: Iterable[Record],
    knn: float | None = None,
) -> str:
    """The card.

    Args:
        record: of the pretraining.
        facts: see ``encoder_facts`` and, for features, ``feature_facts``.
        title: of the run.
        format_: of the file.
        file: its name.
        suffix: of the file, which says how features are written.
        command: that wrote it.
        probes: records of the finished probes of the encoder.
        knn: its accuracy by kNN in percent; None: not measured.
    """
    rows = [(label, text) for label, text in _rows(record, facts, command) if text]
    # The name of a file is shown in code, where it must not end the block.
    name = one_line(file).replace("`", "'")
    code = _LOADING.get(format_) or _LOADING[suffix]
    code = code.format(
        file=name,
        encoder=facts["encoder"],
        stem=_CIFAR_STEM if facts["stem"] == "cifar" else "",
        size=facts["image_size"],
        width=facts["feature_dim"],
    )
    whence = f"from elsewhere, {plain(record.origin)}" if record.origin else "pretrained with MoCo"
    parts = [
        f"# {plain(title)}",
        f"{plain(file)}: {_what(format_)} of an encoder {whence}",
        "| | |\n|---|---|\n" + "\n".join(f"| {label} | {text} |" for label, text in rows),
        "## Accuracy",
        accuracy(knn, probes),
        "## Loading",
        f"```python\n{code}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """A text of others as Markdown shows it: nothing in it is markup."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def _what(format_: str) -> str:
    return {"features": "the features", "onnx": "the graph"}.get(format_, "the weights")


def _rows(record: Record, facts: Mapping[str, str], command: str) -> list[tuple[str, str]]:
    mean, std = facts.get("mean"), facts.get("std")
    normalisation = (
        f"mean {mean}, std {std} of the channels in 0 to 1"
        if mean
        else "by mean and std of the data set that the images belong to"
    )
    if "normalised_for" in facts:
        normalisation += f", those of the training images of {facts['normalised_for']}"
    size = facts["image_size"]
    optim = record.config.get("optim")
    epochs = optim.get("epochs") if isinstance(optim, Mapping) else None
    trained = "" if record.origin else f"{float(facts['epoch']):g} of {epochs}"
    head = facts["embedding_dim"]
    return [
        ("run", plain(record.id)),
        ("encoder", f"{plain(facts['encoder'])}, stem {plain(facts['stem'])}"),
        ("features", facts["feature_dim"]),
        ("embedding", "no projection head" if head == "0" else head),
        ("images", f"RGB, {size}x{size} pixels"),
        ("normalisation", plain(normalisation)),
        ("trained on", _trained_on(facts)),
        ("features of", _features_of(facts)),
        ("epochs", trained),
        ("step", "" if record.origin else facts["step"]),
        *_origin(record),
        ("checkpoint", plain(facts.get("checkpoint", ""))),
        ("weights", f"SHA-256 {plain(facts['fingerprint'])}"),
        ("went on from", plain(facts.get("began_from", ""))),
        ("written by", plain(facts.get("version", "moco-tui"))),
        ("commit", plain(_commit(facts.get("commit"), facts.get("changed_files")))),
        ("command", plain(command)),
    ]


def _origin(record: Record) -> list[tuple[str, str]]:
    """What trained the encoder: version, commit, command; of the last part of the run."""
    found = merged(record.provenance)
    commit, patch = found.get("program.commit"), found.get("program.patch")
    words = f"moco-tui {found.get('program.version', '')}".strip()
    words += f", commit {_commit(commit, None if patch else found.get('program.changed'))}"
    if patch:
        words += f" with changes ({patch})"
    # An import was made by this program, and trained by another.
    verb = "imported" if record.origin else "trained"
    return [
        (f"{verb} by", plain(words) if found else ""),
        (f"{verb} with", plain(str(found.get("command", "")))),
    ]


def _commit(commit: str | None, changed: str | int | None) -> str:
    """A commit, and how many files had been changed since; that it is not known."""
    if not commit:
        return "not known"
    return f"{commit}, changed files: {changed}" if changed and str(changed) != "0" else commit


def _trained_on(facts: Mapping[str, str]) -> str:
    """The data set that the encoder was trained on, and how many images that were."""
    if "data" not in facts:
        return "not known: the encoder came from elsewhere"
    count = int(facts["train_images"])
    return plain(facts["data"]) + (f", {count:,} images" if count else "")


def _features_of(facts: Mapping[str, str]) -> str:
    """The data set that went through the encoder; empty where the file holds no features."""
    if "features_of" not in facts:
        return ""
    train, test = int(facts["features_train_images"]), int(facts["features_test_images"])
    tests = f" and {test:,} test" if test else ""
    return f"{plain(facts['features_of'])}, {train:,} training{tests} images"


def accuracy(knn: float | None, probes: Iterable[Record]) -> str:
    """What was found of the encoder: its kNN, and its row of each probe; or that nothing was."""
    rows = []
    if knn is not None:
        rows.append(("kNN on withheld training images", "", f"{knn:.2f} %"))
    for probe in probes:
        found = _pretrained(probe.result)
        if found is not None:
            labels = f"{plain(str(probe.result.get('labels', '')))} labels"
            name = f"probe {plain(probe.id)}: {plain(str(probe.result.get('head', '')))} head"
            task = plain(str(probe.result.get("task", "")))
            other = plain(str(probe.result.get("data", "")))
            where = f", on {other}" if other else ""
            rows.append((f"{name}, task {task}{where}", labels, f"{found:.2f} %"))
    if not rows:
        return "Nothing was measured of this encoder."
    lines = "\n".join(f"| {what} | {labels} | {value} |" for what, labels, value in rows)
    return f"| measured by | with | top-1 |\n|---|---|---|\n{lines}"


def _pretrained(result: Mapping[str, Any]) -> float | None:
    """Top-1 of the encoder in a result of a probe, in percent; None where there is none."""
    rows = result.get("rows")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("source") == "pretrained":
            value = row.get("top1")
            return float(value) if isinstance(value, int | float) else None
    return None
