"""A probe: what a frozen encoder's features are worth with few labels, beside its baselines."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor

from engine.config.fields import flatten
from engine.config.heads.logistic import LogisticConfig
from engine.config.missing_settings import values_when_missing
from engine.config.schema import ModelConfig, ProbeConfig, head_settings
from engine.data.dataset import Dataset
from engine.evaluate.features import checksum
from engine.evaluate.tasks import Material, prepare_material
from engine.models.encoder import Encoder
from engine.native.library import OFF
from engine.probe.feature_sources import PRETRAINED, FeaturesForManyProbes, FeaturesForOneProbe
from engine.probe.head import load_head
from engine.probe.logistic_choice import folds_of
from engine.probe.old_results import old_fingerprints
from engine.probe.scratch_gain import RIGHT, SCRATCH, with_gains
from engine.probe.source_rows import ProbeInputs, load_source_row
from engine.runs.encoder_step import EncoderStep
from engine.sink import NullSink, PausableSink, Plan, Sink

_FREE = ("runtime.device", "runtime.threads", "runtime.deterministic", "runtime.capture")


def run_probe(
    config: ProbeConfig,
    *,
    dataset: Dataset,
    pretrained: Encoder,
    model: ModelConfig,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    encoder_step: EncoderStep | None = None,
    sink: Sink | None = None,
    done: Mapping[str, Any] | None = None,
    kernels: str = OFF,
) -> dict[str, Any]:
    """Fits a head on the pretrained features and on each baseline; evaluates them on the test set.

    The labels are those of one nested, stratified subset; everything that is chosen is chosen
    inside it. The test images are read once for each source, when its head is final. Each source
    seeds its own generators: a probe that was interrupted gives the same result when it is run
    again, with or without the rows that were ready (but for the seconds they took).

    Args:
        config: what to probe and how.
        dataset: with labels and test images.
        pretrained: the encoder; moved to ``device``, its weights and buffers stay as they are.
        model: its architecture, for the baselines.
        mean: float32 (3,), of the channels in [0, 1], as in the pretraining.
        std: float32 (3,).
        device: where to compute.
        encoder_step: how far the encoder was trained, for the result; None: not known.
        sink: receives the progress, ``probe/<source>/...`` metrics, and the result before the
            first source and after each; pause and checkpoint are answered here.
        done: an earlier result of the same probe; the rows in it are kept.
        kernels: level of the kernels in C that a CPU uses (``engine.native``), or ``off``: it
            changes the last bits of the numbers.

    Returns:
        Builtin values: ``task``, ``groups``, ``members`` (classes of each group),
        ``label_fraction``, ``labels`` and ``test_images`` (counts), ``head``, ``protocol`` (a
        text), ``rows``, ``step`` (how many steps they took) and ``fingerprint`` (of what they
        belong to); of a transfer ``data`` and ``pretrained_on``; where it is known ``encoder_step``
        and ``encoder_schedule_steps``. Each row has ``source``, the figures of
        ``engine.evaluate.accuracy.score`` (percent), ``chosen`` (how the regularisation was
        chosen), ``protocol`` and ``seconds``; beside a training from scratch ``over_scratch``, see
        ``engine.probe.scratch_gain``; that of ``supervised`` has a ``budget`` (what was
        spent) and a ``convergence`` (whether longer training would do better; None where that was
        not judged).

    Raises:
        DataError: when the data lacks something.
        TrainingError: when features are not finite, or the supervised baseline diverges.
        NotFrozenError: when an encoder has changed.
        Interrupted: when the sink asked to stop.
    """
    sources = FeaturesForOneProbe(pretrained, model, dataset, mean, std, device, kernels)
    return probe_sources(config, sources, encoder_step=encoder_step, sink=sink, done=done)


def probe_sources(
    config: ProbeConfig,
    sources: FeaturesForOneProbe | FeaturesForManyProbes,
    *,
    material: Material | None = None,
    encoder_step: EncoderStep | None = None,
    pretrained_on: str = "",
    sink: Sink | None = None,
    done: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``run_probe`` with the features of ``sources``, which many probes may share.

    Args:
        config: what to probe and how.
        sources: compute the features.
        material: ``prepare_material`` of this probe; None: made here.
        encoder_step: see ``run_probe``.
        pretrained_on: the data set of the pretraining; empty: trained elsewhere, or not known.
        sink: see ``run_probe``.
        done: see ``run_probe``.
    """
    material = prepare_material(config, sources.dataset) if material is None else material
    pausable = PausableSink(NullSink() if sink is None else sink)
    probe = ProbeInputs(
        config, sources, material, load_head(config), pausable, encoder_step, pretrained_on
    )
    return _Probe(probe).run(done or {})


def fingerprint(config: ProbeConfig, dataset: Dataset, pretrained: Encoder, mean: Tensor) -> str:
    """What a result belongs to: configuration, encoder and data, as a short text.

    What does not change the numbers on a device is left out of the configuration, and so are
    settings that have the value of a run that does not name them: one that is added later leaves
    the fingerprints of earlier results as they are.
    """
    usual = values_when_missing("probe")
    flat = json.loads(msgspec.json.encode(flatten(config)))
    kept = {k: v for k, v in flat.items() if k not in _FREE and v != usual.get(k)}
    text = json.dumps(
        [kept, dataset.identity.digest, mean.tolist(), checksum(pretrained, str)], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def belongs(
    done: Mapping[str, Any],
    config: ProbeConfig,
    *,
    dataset: Dataset,
    pretrained: Encoder,
    mean: Tensor,
) -> bool:
    """Whether an earlier result, of this version or of 0.1, is one of this very probe."""
    if not done:
        return False
    recorded = done.get("fingerprint")
    # One after the other: each reads all weights of the encoder.
    ours = itertools.chain(
        [fingerprint(config, dataset, pretrained, mean)],
        old_fingerprints(config, dataset, pretrained, mean),
    )
    return any(recorded == text for text in ours)


def steps_kept(
    done: Mapping[str, Any],
    config: ProbeConfig,
    *,
    dataset: Dataset,
    pretrained: Encoder,
    mean: Tensor,
) -> int:
    """Steps of an earlier result that ``run_probe`` would keep: metrics after it are void."""
    ours = belongs(done, config, dataset=dataset, pretrained=pretrained, mean=mean)
    return int(done["step"]) if ours else 0


class _Probe:
    """The rows of a probe one after the other, and their reports to the sink; see ``run_probe``.

    Args:
        inputs: what the rows are made from.
    """

    def __init__(self, inputs: ProbeInputs) -> None:
        self.inputs, self.sink = inputs, inputs.sink
        self.rows = {name: load_source_row(name) for name in (PRETRAINED, *inputs.config.baselines)}
        self.source, self.step = "", 0

    def run(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """The whole probe, but for the rows that ``done`` holds."""
        result = heading(self.inputs)
        kept: dict[str, Any] = {}
        sources = self.inputs.sources
        if belongs(
            done,
            self.inputs.config,
            dataset=sources.dataset,
            pretrained=sources.pretrained,
            mean=sources.mean,
        ):
            kept = {row["source"]: row for row in done["rows"] if row["source"] in self.rows}
        elif done:
            self.sink.log("the earlier result belongs to another probe: starting anew")
        if self.inputs.encoder_step is not None:
            self.sink.log(f"the pretrained encoder is that of {self.inputs.encoder_step.words()}")
        # One more than the reports of the fit: the last of a source is that of the test.
        steps = [row.reports(self.inputs) + 1 for row in self.rows.values()]
        ends = dict(zip(self.rows, itertools.accumulate(steps), strict=True))
        self.sink.plan(
            Plan(
                total_steps=sum(steps),
                start_step=max((ends[source] for source in kept), default=0),
                device=str(self.inputs.sources.device),
                facts=facts(self.inputs),
                data=self.inputs.sources.dataset.identity.facts(),
            )
        )
        if not kept:  # which encoder it is, is known from the beginning
            self.sink.result(result)
        for source, count in zip(self.rows, steps, strict=True):
            row = kept.get(source)
            if row is None:
                row = self._row(source, first=ends[source] - count, last=ends[source])
            rows = [*result["rows"], row]
            if len(rows) == len(self.rows):
                rows = with_gains(rows, len(self.inputs.material.test_rows))
            # A new dict each time: the sink may keep the earlier one.
            result = {**result, "rows": rows, "step": ends[source]}
            self.sink.result(result)
        return result

    def _row(self, source: str, *, first: int, last: int) -> dict[str, Any]:
        """Makes a row; its reports count from ``first + 1``, that of the test is ``last``."""
        began = time.perf_counter()
        self.source, self.step = source, first
        figures = self.rows[source].row(self.inputs, self._report)
        row = {"source": source, **figures, "seconds": time.perf_counter() - began}
        if SCRATCH not in self.rows:  # nothing to hold the row against
            row.pop(RIGHT, None)
        self.step = last - 1
        tested = {f"test_{name}": row[name] for name in ("top1", "balanced", "majority")}
        self._report({**tested, **training_figures(row)})
        return row

    def _report(self, values: Mapping[str, float]) -> None:
        self.step += 1
        named = {f"probe/{self.source}/{name}": value for name, value in values.items()}
        self.sink.metrics(self.step, float(self.step), named)


def heading(inputs: ProbeInputs) -> dict[str, Any]:
    """What a result says before its first row."""
    config, material, sources = inputs.config, inputs.material, inputs.sources
    task, labels, settings = material.task, len(material.rows), head_settings(config)
    chosen = choice_words(config, material)
    return {
        **transfer_facts(inputs),
        "task": task.name,
        "groups": list(task.groups),
        "members": {g: list(m) for g, m in zip(task.groups, task.members, strict=True)},
        "label_fraction": config.label_fraction,
        "labels": labels,
        "test_images": len(material.test_rows),
        **({} if inputs.encoder_step is None else inputs.encoder_step.figures),
        "head": config.head,
        "protocol": (
            f"{settings.subject(labels)}; {settings.method(chosen)}. "
            f"{_checkpoint_words(inputs.encoder_step)}; test images read once for each row. The "
            "interval is over the test images (95 %, Wilson) and says nothing about other seeds."
            f"{transfer_sentence(inputs)}"
        ),
        "rows": [],
        "step": 0,
        "fingerprint": fingerprint(config, sources.dataset, sources.pretrained, sources.mean),
    }


def choice_words(config: ProbeConfig, material: Material) -> str:
    """How the regularisation of a probe is chosen, to stand behind the name of the setting."""
    settings, held_out = head_settings(config), len(material.validate)
    if isinstance(settings, LogisticConfig) and len(set(settings.l2)) > 1:
        classes = len(material.task.groups)
        if folds := folds_of(settings, material.targets, classes, held_out):
            return f"chosen by {folds}-fold cross-validation on the labelled images"
    if held_out:
        return f"chosen on {held_out:,} of the labelled images"
    return f"not tuned: under {config.tune_from} labels in a class the middle one is taken"


def transfer_facts(inputs: ProbeInputs) -> dict[str, str]:
    """``data`` and ``pretrained_on`` of a probe on other images than those of the pretraining."""
    source = inputs.config.data.source
    if source in ("", inputs.pretrained_on):
        return {}
    return {"data": source, "pretrained_on": inputs.pretrained_on}


def transfer_sentence(inputs: ProbeInputs) -> str:
    """What the protocol says of a transfer; empty for other probes."""
    facts = transfer_facts(inputs)
    if not facts:
        return ""
    origin = f"pretrained on {facts['pretrained_on']}" if facts["pretrained_on"] else "imported"
    return (
        f" Transfer: the encoder was {origin} and is probed on {facts['data']}, and so are the "
        "baselines."
    )


def _checkpoint_words(at: EncoderStep | None) -> str:
    """Which encoder of its pretraining it is, for the protocol."""
    if at is None or not at.checkpoint:
        return "Last checkpoint, not the best"
    if at.checkpoint == "best":
        return "Checkpoint of the best kNN, which was chosen by withheld training labels"
    return f"Checkpoint of epoch {at.checkpoint}, not the last"


def training_figures(row: Mapping[str, Any]) -> dict[str, float]:
    """How long the net of a row was trained from scratch, as metrics; empty for other rows.

    ``epochs_trained``, ``epochs_planned``, and ``converged`` (1 or 0) where that is known.
    """
    budget = row.get("budget")
    if budget is None:
        return {}
    figures = {
        "epochs_trained": float(budget["epochs"]),
        "epochs_planned": float(budget["planned_epochs"]),
    }
    converged = (row.get("convergence") or {}).get("converged")
    return figures if converged is None else figures | {"converged": float(converged)}


def facts(inputs: ProbeInputs) -> dict[str, Any]:
    """What a repeat needs to know, for ``Plan.facts``."""
    material = inputs.material
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "precision": "float32",
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "kernels": inputs.sources.kernels,
        "train_images": len(inputs.sources.dataset.train),
        "labels": len(material.rows),
        "test_images": len(material.test_rows),
        "classes": len(material.task.groups),
        "features": inputs.sources.pretrained.feature_dim,
    }
