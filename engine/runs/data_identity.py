"""Which images and labels a run has seen: digests, what differs between two, and who may go on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.phrases import listed
from engine.errors import DataError


class OtherDataError(DataError):
    """A run was to go on with images or labels that are not those that it began with."""


class DataIdentity(Struct, frozen=True, kw_only=True):
    """What identifies a data set, as records and checkpoints hold it.

    Digests are the first 32 hexadecimal digits of SHA-256; empty for a part that is not there.

    Attributes:
        train, test, classes: how many images and names.
        unlabelled: how many of the training images have no label, where there are classes.
        train_images, train_labels, test_images, test_labels: of the bytes, in the order of the
            images.
        class_names: of the names.
        decoder: what decoded the images, for people; not compared, since the pixels are.
    """

    train: int
    test: int = 0
    classes: int = 0
    unlabelled: int = 0
    train_images: str
    train_labels: str
    test_images: str = ""
    test_labels: str = ""
    class_names: str = ""
    decoder: str = ""

    @property
    def train_digest(self) -> str:
        """One digest of everything that a pretraining sees: 16 hexadecimal digits."""
        return _joined(self.train_images, self.train_labels, self.class_names)

    @property
    def digest(self) -> str:
        """One digest of everything, the test images included."""
        return _joined(self.train_digest, self.test_images, self.test_labels)

    def facts(self) -> dict[str, Any]:
        """As builtin values, for a record or a checkpoint."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts


def _joined(*digests: str) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def identity_in(facts: object) -> DataIdentity | None:
    """The identity in a record or a checkpoint; None where an earlier version wrote none.

    Args:
        facts: what ``DataIdentity.facts`` gave, perhaps with more beside it.
    """
    try:
        return msgspec.convert(facts, DataIdentity)
    except msgspec.ValidationError:
        return None


def last_identity(parts: Sequence[Mapping[str, Any]]) -> DataIdentity | None:
    """The data that a run saw last, from ``Record.data``."""
    return identity_in(parts[-1]) if parts else None


def with_part(
    parts: Sequence[Mapping[str, Any]], step: int, facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """``Record.data`` of a run that goes on from a step with some data.

    Args:
        parts: so far; those that begin at or after ``step`` are computed again.
        step: the steps that are done.
        facts: see ``DataIdentity.facts``; empty for data that have no identity.
    """
    kept = [dict(part) for part in parts if not part.get("step") or part["step"] < step]
    if step == 0:
        kept = []
    if not facts:
        return kept
    then, now = last_identity(kept), identity_in(facts)
    if then is None or now is None or then.digest != now.digest:
        kept.append({"step": step, **facts})
    return kept


def digests_of(parts: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The ``train_digest`` and ``digest`` of a run; of several data sets a join that no set has.

    Both are empty for a run of an earlier version.
    """
    found = [identity for part in parts if (identity := identity_in(part)) is not None]
    train = dict.fromkeys(identity.train_digest for identity in found)
    whole = dict.fromkeys(identity.digest for identity in found)
    return "+".join(train), "+".join(whole)


def described(parts: Sequence[Mapping[str, Any]], encoder: Sequence[Mapping[str, Any]] = ()) -> str:
    """The data of a run in a line: ``240 to train, 40 to test; others from step 3 on``.

    Args:
        parts: ``Record.data``; empty for a run of an earlier version, and so is the line then.
        encoder: of a probe, that of its pretraining.
    """
    last, trained_on = last_identity(parts), last_identity(encoder)
    if last is None:
        return ""
    labels = f" ({last.train - last.unlabelled:,} with labels)" if last.unlabelled else ""
    texts = [f"{last.train:,} to train{labels}" + (f", {last.test:,} to test" if last.test else "")]
    texts += [f"others from step {part.get('step')} on" for part in parts[1:]]
    if trained_on is not None and trained_on.train_images != last.train_images:
        texts.append("not those that the encoder was pretrained on")
    return "; ".join([*texts, f"digest {last.digest}"])


def differences(then: DataIdentity, now: DataIdentity, *, test: bool) -> list[str]:
    """What differs between two data sets, in words; empty where they are the same.

    Args:
        then: the earlier one.
        now: the later one.
        test: whether the test images count.
    """
    found = _part("training", then, now, "train")
    if then.class_names != now.class_names:
        count = f" ({then.classes} then, {now.classes} now)" if then.classes != now.classes else ""
        found.append(f"the names of the classes{count}")
    if test:
        found += _part("test", then, now, "test")
    if found and then.decoder != now.decoder and then.decoder and now.decoder:
        found[-1] += f" (decoded by {then.decoder} then and {now.decoder} now)"
    return found


def _part(noun: str, then: DataIdentity, now: DataIdentity, part: str) -> list[str]:
    before, after = getattr(then, part), getattr(now, part)
    if before != after:
        return [f"the number of {noun} images ({before:,} then, {after:,} now)"]
    return [
        f"the {noun} {what}"
        for what in ("images", "labels")
        if getattr(then, f"{part}_{what}") != getattr(now, f"{part}_{what}")
    ]


def check_same_data(
    then: DataIdentity | None,
    now: DataIdentity,
    *,
    whose: str,
    test: bool,
    allowed: bool,
) -> str:
    """Refuses data that are not those that a run began with, unless that is allowed.

    Args:
        then: None where an earlier version recorded none: nothing is refused.
        now: the data that are there.
        whose: the subject of the sentence: ``run k7xw2m``.
        test: whether the test images count.
        allowed: a person has said that the run is to go on with other data.

    Returns:
        A line that says what differs, for the log; empty where nothing does.

    Raises:
        OtherDataError: one sentence with what differs.
    """
    found = [] if then is None else differences(then, now, test=test)
    if not found:
        return ""
    if allowed:
        return f"{whose} goes on with other data, as asked: {listed(found)} changed"
    raise OtherDataError(
        f"The data are not those that {whose} began with: {listed(found)} changed; put them back, "
        "or go on with what is there now: --allow-other-data."
    )
