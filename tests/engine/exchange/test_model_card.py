"""The Markdown beside an exported file: what trained the encoder."""

from __future__ import annotations

from typing import Any

from engine.exchange.model_card import model_card
from engine.runs import Record
from engine.runs.provenance import with_start

FACTS = {
    "encoder": "convnet", "stem": "cifar", "feature_dim": "512", "embedding_dim": "0",
    "image_size": "32", "data": "shapes", "train_images": "10", "step": "4", "epoch": "2",
    "fingerprint": "f" * 64,
    "commit": "e" * 40, "version": "moco-tui 0.2",
}  # fmt: skip


def card(
    *parts: dict[str, Any], facts: dict[str, str] | None = None, origin: str = ""
) -> list[str]:
    record = Record(id="k7m2qx", kind="pretrain", created=1.0, origin=origin)
    for step, values in enumerate(parts):
        record.provenance = with_start(record.provenance, step, 1.0, values)
    text = model_card(
        record, facts or FACTS, title="t", format_="onnx", file="a.onnx", suffix=".onnx",
        command="moco-tui export", probes=(),
    )  # fmt: skip
    return text.splitlines()


def test_the_card_names_the_commit_and_the_command_that_trained_the_encoder() -> None:
    first = {
        "program.version": "0.1", "program.commit": "a" * 40, "command": "moco-tui pretrain | x",
        "program.patch": "patch-0123456789ab.diff",
    }  # fmt: skip
    lines = card(first)
    trained = f"| trained by | moco-tui 0.1, commit {'a' * 40} with changes "
    assert f"{trained}(patch-0123456789ab.diff) |" in lines
    assert r"| trained with | moco-tui pretrain \| x |" in lines
    assert f"| commit | {'e' * 40} |" in lines  # of what wrote the file
    lines = card(first, {"program.version": "0.2", "program.commit": "b" * 40})
    assert f"| trained by | moco-tui 0.2, commit {'b' * 40} |" in lines


def test_the_card_of_an_earlier_run_is_silent() -> None:
    assert not any(line.startswith(("| trained by", "| trained with")) for line in card())


def test_the_card_says_where_no_commit_is_known() -> None:
    unknown = {name: text for name, text in FACTS.items() if name != "commit"}
    assert "| commit | not known |" in card(facts=unknown)
    lines = card({"program.version": "0.1"})
    assert "| trained by | moco-tui 0.1, commit not known |" in lines
    changed = {"program.version": "0.1", "program.commit": "a" * 40, "program.changed": 2}
    lines = card(changed, facts=FACTS | {"changed_files": "3"})
    assert f"| commit | {'e' * 40}, changed files: 3 |" in lines
    assert f"| trained by | moco-tui 0.1, commit {'a' * 40}, changed files: 2 |" in lines


def test_the_card_of_an_import_does_not_say_that_this_program_trained_it() -> None:
    facts = {name: text for name, text in FACTS.items() if name != "data"}
    lines = card({"program.version": "0.2", "command": "moco-tui import x"},
                 facts=facts, origin="imported x sha256 1")  # fmt: skip
    assert "| trained on | not known: the encoder came from elsewhere |" in lines
    assert "| imported by | moco-tui 0.2, commit not known |" in lines
    assert "| imported with | moco-tui import x |" in lines
    assert not any(line.startswith(("| trained by", "| trained with")) for line in lines)
