"""Settings of any run: what is monitored and written, on which device and how it is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class MonitorConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is measured during pretraining; nothing of it changes the training.

    kNN on the images whose labels are withheld is a weighted vote of the nearest neighbours
    (arXiv:1805.01978, section 3.4); k and temperature are those of the CIFAR-10 demo of
    facebookresearch/moco. The measures (``engine.pretrain.measures``) need no labels; the online
    probe (``engine.pretrain.online_probe``) withholds those that kNN withholds.
    """

    # A pass of all images through the encoder, so not every epoch.
    knn_every: Annotated[
        int,
        Meta(
            ge=0, description="epochs between kNN evaluations; 0: never", extra={"unit": "epochs"}
        ),
    ] = 10
    knn_k: Annotated[int, Meta(ge=1, le=100_000, description="neighbours that vote")] = 200
    knn_temperature: Annotated[
        float, Meta(gt=0.0, le=100.0, description="temperature of the votes")
    ] = 0.1
    knn_features: Annotated[
        Literal["output", "backbone"],
        Meta(description="the normalised embedding, or the features before the projection"),
    ] = "output"
    knn_test: Annotated[
        bool,
        Meta(description="also log kNN on the test set, for reference only (never to choose by)"),
    ] = False
    # About 1 % of a ConvNet's step on two cores, less of others (tests/benchmarks/measures.py).
    online_probe: Annotated[
        bool,
        Meta(
            description="train a linear classifier beside the encoder, on the features of its "
            "steps, and measure it on the withheld labels"
        ),
    ] = True
    measures: Annotated[
        bool,
        Meta(
            description="measure the contrastive task, the queue and the embeddings while training"
        ),
    ] = True
    measure_every: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="steps between measures, about: they are taken at ends of epochs, and "
            "within long ones; 0: 100 on a CPU, 1,000 on a card",
            extra={"unit": "steps"},
        ),
    ] = 0


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often things are written, and what is kept."""

    # By time, not by steps: it bounds what a crash costs, while a step takes from 70 ms to 31 s on
    # two cores (tests/benchmarks/REPORT.md, "Where a step grows").
    checkpoint_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="seconds between checkpoints", extra={"unit": "s"})
    ] = 300
    checkpoint_epochs: Annotated[
        int,
        Meta(
            ge=0, description="also every so many epochs; 0: by time only", extra={"unit": "epochs"}
        ),
    ] = 0
    # Whole checkpoints, of which each takes as much as the last one does.
    keep_every: Annotated[
        int,
        Meta(
            ge=0,
            description="keep the checkpoint of every so many epochs; 0: the last and the best",
            extra={"unit": "epochs"},
        ),
    ] = 0
    keep_last: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="how many of those epochs are kept, the newest; 0: all of them",
        ),
    ] = 0
    tensorboard: Annotated[
        bool, Meta(description="also write TensorBoard event files during training")
    ] = False
    device_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=3600,
            description="seconds between records of what CPU, memory and card are doing; 0: none",
            extra={"unit": "s"},
        ),
    ] = 10


class RuntimeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """On which device and how a run is computed; all of it is in the record."""

    seed: Annotated[int, Meta(ge=0, lt=2**31, description="seed of every generator")] = 0
    device: Annotated[
        str,
        Meta(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps"),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Meta(
            description="of the backbone; auto: bfloat16 where the device is fast at it; loss, "
            "queue and momentum update stay in float32"
        ),
    ] = "auto"
    deterministic: Annotated[
        bool, Meta(description="deterministic algorithms on CUDA (the CPU always is)")
    ] = False
    capture: Annotated[
        Literal["auto", "recorded", "fused", "kernels", "off"],
        Meta(
            description="on CUDA, recorded replays a pretraining's step as one graph; kernels "
            "takes ones written for it first, in Triton; fused joins torch's, by torch.compile; "
            "auto is kernels (of an encoder without them, fused) in a run that repays making them "
            "ready, else recorded; off does none of it"
        ),
    ] = "auto"
    threads: Annotated[
        int, Meta(ge=0, le=1024, description="CPU threads; 0: one for each core")
    ] = 0
