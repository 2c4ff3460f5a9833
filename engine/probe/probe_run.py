"""A probe: what a frozen encoder's features are worth with few labels, beside its baselines."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engine.config.fields import flatten
from engine.config.schema import ModelConfig, ProbeConfig
from engine.data.dataset import Dataset
from engine.evaluate.features import checksum, frozen
from engine.evaluate.metrics import score
from engine.evaluate.tasks import prepare_material
from engine.models.encoder import Encoder
from engine.probe.feature_sources import PRETRAINED, SharedSources, Source, Sources
from engine.probe.heads import judge_linear, judge_logistic
from engine.probe.linear import Views, affordable_views
from engine.probe.supervised import Budget, fit_supervised, plan_budget
from engine.seeds import stream_seed
from engine.sink import NullSink, PausableSink, Plan, Sink


def check_probe(config: ProbeConfig, dataset: Dataset) -> None:
    """Refuses a probe that the data cannot carry, before anything is computed.

    Raises:
        DataError: one sentence on what is missing.
    """
    prepare_material(config, dataset)


def run_probe(
    config: ProbeConfig,
    *,
    dataset: Dataset,
    pretrained: Encoder,
    model: ModelConfig,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    sink: Sink | None = None,
    done: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fits a head on the pretrained features and on each baseline; judges them on the test set.

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
        sink: hears the progress, ``probe/<source>/...`` metrics, and the result after each
            source; pause and checkpoint are answered here.
        done: an earlier result of the same probe; the rows in it are kept.

    Returns:
        Builtin values: ``task``, ``groups``, ``members`` (classes of each group),
        ``label_fraction``, ``labels`` and ``test_images`` (counts), ``head``, ``protocol`` (a
        text), ``rows``, ``step`` (how many steps they took) and ``fingerprint`` (of what they
        belong to). Each row has ``source``, the figures of ``engine.evaluate.metrics.score``
        (percent), ``chosen`` (how the regularisation was chosen), ``protocol`` and ``seconds``;
        that of ``supervised`` has a ``budget``.

    Raises:
        DataError: when the data lacks something.
        TrainingError: when features are not finite, or the supervised baseline diverges.
        NotFrozenError: when an encoder has changed.
        Interrupted: when the sink asked to stop.
    """
    return probe_sources(
        config, Sources(pretrained, model, dataset, mean, std, device), sink=sink, done=done
    )


def probe_sources(
    config: ProbeConfig,
    sources: Sources | SharedSources,
    *,
    sink: Sink | None = None,
    done: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``run_probe`` with the features of ``sources``, which many probes may share."""
    return _Probe(config, sources, sink).run(done or {})


def fingerprint(config: ProbeConfig, dataset: Dataset, pretrained: Encoder, mean: Tensor) -> str:
    """What a result belongs to: configuration, encoder and data, as a short text.

    What does not change the numbers on a device is left out of the configuration.
    """
    free = ("runtime.device", "runtime.threads", "runtime.deterministic", "runtime.capture")
    kept = {key: value for key, value in flatten(config).items() if key not in free}
    test = len(dataset.test) if dataset.test is not None else 0
    data = [len(dataset.train), test, dataset.class_names, mean.tolist()]
    text = json.dumps([kept, data, checksum(pretrained)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def steps_kept(
    done: Mapping[str, Any],
    config: ProbeConfig,
    *,
    dataset: Dataset,
    pretrained: Encoder,
    mean: Tensor,
) -> int:
    """Steps of an earlier result that ``run_probe`` would keep: metrics after it are void."""
    if done.get("fingerprint") != fingerprint(config, dataset, pretrained, mean):
        return 0
    return int(done["step"])


class _Probe:
    """One probe; see ``run_probe``."""

    def __init__(
        self, config: ProbeConfig, sources: Sources | SharedSources, sink: Sink | None
    ) -> None:
        self.config, self.made, self.dataset = config, sources, sources.dataset
        self.sink = PausableSink(NullSink() if sink is None else sink)
        self.material = prepare_material(config, self.dataset)
        self.sources = (PRETRAINED, *config.baselines)
        self.source, self.step = "", 0

    def run(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """The whole probe, but for the rows that ``done`` holds."""
        result = self._heading()
        kept: dict[str, Any] = {}
        if done.get("fingerprint") == result["fingerprint"]:
            kept = {row["source"]: row for row in done["rows"]}
        elif done:
            self.sink.log("the earlier result belongs to another probe: starting anew")
        ends, end = {}, 0
        for source in self.sources:
            end += self._steps(source)
            ends[source] = end
        ready = [source for source in self.sources if source in kept]
        self.sink.plan(
            Plan(
                total_steps=end,
                start_step=max((ends[source] for source in ready), default=0),
                device=str(self.made.device),
                facts=self._facts(),
            )
        )
        rows: list[dict[str, Any]] = []
        for source in self.sources:
            if source in kept:
                rows.append(kept[source])
            else:
                self.source, self.step = source, ends[source] - self._steps(source)
                row = self._row(source)
                rows.append(row)
                self.step = ends[source] - 1
                self._report(
                    {
                        "test_top1": row["top1"],
                        "test_balanced": row["balanced"],
                        "test_majority": row["majority"],
                    }
                )
            result = {**result, "rows": list(rows), "step": ends[source]}
            self.sink.result(result)
        return result

    def _heading(self) -> dict[str, Any]:
        config, material = self.config, self.material
        task, labels = material.task, len(material.rows)
        head = (
            "logistic regression (L-BFGS to the optimum, L2 strength"
            if config.head == "logistic"
            else "linear layer (SGD on augmented images, learning rate"
        )
        chosen = (
            f"chosen on {len(material.validate):,} of the labelled images)"
            if len(material.validate)
            else "not chosen: too few labels)"
        )
        return {
            "task": task.name,
            "groups": list(task.groups),
            "members": {g: list(m) for g, m in zip(task.groups, task.members, strict=True)},
            "label_fraction": config.label_fraction,
            "labels": labels,
            "test_images": len(material.test_rows),
            "head": config.head,
            "protocol": (
                f"Frozen features before the projection, standardised on the {labels:,} labelled "
                f"images; {head} {chosen}. Last checkpoint, not the best; test images read once "
                "for each row. The interval is over the test images (95 %, Wilson) and says "
                "nothing about other seeds."
            ),
            "rows": [],
            "step": 0,
            "fingerprint": fingerprint(
                self.config, self.dataset, self.made.pretrained, self.made.mean
            ),
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "precision": "float32",
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "train_images": len(self.dataset.train),
            "labels": len(self.material.rows),
            "test_images": len(self.material.test_rows),
            "classes": len(self.material.task.groups),
            "features": self.made.pretrained.feature_dim,
        }

    def _steps(self, source: str) -> int:
        """Reports that a source makes at most; the last is that of the test."""
        config, material = self.config, self.material
        if source == "supervised":
            return self._budget().reports + 1
        if config.head == "logistic":
            return 3
        choosing = len(material.validate) > 0 and len(set(config.linear.lr)) > 1
        return config.linear.epochs * (2 if choosing else 1) + 1

    def _budget(self) -> Budget:
        material = self.material
        return plan_budget(
            self.config.supervised, len(material.rows), len(material.fit), len(material.validate)
        )

    def _report(self, values: Mapping[str, float]) -> None:
        self.step += 1
        named = {f"probe/{self.source}/{name}": value for name, value in values.items()}
        self.sink.metrics(self.step, float(self.step), named)

    def _row(self, source: str) -> dict[str, Any]:
        began = time.perf_counter()
        if source == "supervised":
            row = self._supervised()
        elif source == "pixels":
            row = self._features(self.made.of_pixels())
            row["protocol"] = "the values of the image itself, with the same head"
        else:
            encoder = self.made.encoder(source, self.config.runtime.seed, self.sink)
            with frozen(encoder):  # proved to be as it was
                row = self._features(self.made.of_encoder(source, encoder))
            row["protocol"] = (
                "the pretrained encoder"
                if source == PRETRAINED
                else "the same architecture with random weights, BatchNorm statistics set on "
                "training images"
            )
        return {"source": source, **row, "seconds": time.perf_counter() - began}

    def _features(self, source: Source) -> dict[str, Any]:
        """The row of whatever makes features of images."""
        material, linear = self.material, self.config.linear
        labelled = source.labelled(material.rows, self.sink)

        def test_features() -> Tensor:
            return source.test(material.test_rows, self.sink)

        if self.config.head == "logistic":
            return judge_logistic(
                labelled,
                test_features,
                material,
                self.config.logistic,
                sink=self.sink,
                report=self._report,
            )
        count = affordable_views(linear.views, *labelled.features.shape)
        if count < linear.views:
            self.sink.log(
                f"{self.source}: {count} views of each image in place of {linear.views}, so that "
                "their features fit into the memory meant for them"
            )
        # The same augmentations and the same order for every source: a paired comparison.
        seed = stream_seed(self.config.runtime.seed, "linear")
        features, places = source.views(material.rows, count, seed, self.sink)
        return judge_linear(
            labelled,
            Views.standardised(features, places, labelled.standardise),
            test_features,
            material,
            linear,
            seed=seed,
            sink=self.sink,
            report=self._report,
        )

    def _supervised(self) -> dict[str, Any]:
        material, test = self.material, self.dataset.test
        assert test is not None
        fitted = fit_supervised(
            self.made.model,
            self.dataset.train.images[material.rows],
            material.targets,
            len(material.task.groups),
            self.config.supervised,
            fit=material.fit,
            validate=material.validate,
            mean=self.made.mean,
            std=self.made.std,
            device=self.made.device,
            seed=stream_seed(self.config.runtime.seed, "supervised"),
            sink=self.sink,
            report=self._report,
        )
        predicted = fitted.predict(test.images[material.test_rows])
        budget = fitted.budget
        return {
            **score(material.test_targets, predicted, material.task.groups),
            "chosen": {"lr": fitted.lr, "candidates": list(fitted.candidates)},
            "budget": {
                "epochs": budget.epochs,
                "images": budget.images,
                "selection_images": budget.selection_images,
                "rates": budget.rates,
                "batch_size": budget.batch_size,
            },
            "protocol": f"trained from scratch on the same labels: {budget.text()}",
        }
