"""Everything known of one run."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import msgspec
import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import create, own
from moco_tui.cli.outcome import result_table

from ..machine_loads import write_history
from .conftest import RESULT, Call, begin, probed, trained


def test_show_tells_the_facts_and_what_differs_from_the_preset(call: Call, root: Path) -> None:
    folder = trained(
        root, name="first", values={"moco.queue_size": 777, "optim.milestones": [3, 5]}
    )
    call("note", folder.id, "a", "note")
    out = call("show", folder.id, "--log", "5").out
    for text in (
        "first",
        "finished",
        "preset quick",
        "step 3 of 40 (7.5 %)",
        "a note",
        str(folder.path),
        "15.250",
        "a line of the log",
    ):
        assert text in out
    after = out.partition("differs from preset quick")[2].partition("\n\n")[0].splitlines()[1:]
    assert [line.split() for line in after] == [
        ["moco.queue_size", "777", "2048"],
        ["optim.milestones", "3,", "5", "120,", "160"],
    ]
    assert "a line of the log" not in call("show", folder.id).out


@pytest.mark.parametrize("preset", ["quick", "notebook", "resnet18-moco"])
def test_a_run_with_the_values_of_its_preset_differs_in_nothing(
    call: Call, root: Path, preset: str
) -> None:
    config = resolve(PretrainConfig, preset_name=preset)
    folder = create(root, "pretrain", config, preset=preset)
    assert f"settings: those of preset {preset}" in call("show", folder.id).out
    facts = json.loads(call("show", folder.id, "--json").out)
    assert facts["differs"] == {}
    assert facts["config"] == json.loads(msgspec.json.encode(config))


def test_show_of_a_probe_prints_its_table(call: Call, root: Path) -> None:
    parent = trained(root)
    probe = probed(root, parent.id)
    out = call("show", probe.id).out
    assert result_table(RESULT) in out
    assert f"encoder of  {parent.id}" in out
    facts = json.loads(call("show", probe.id, "--json").out)
    assert facts["result"]["rows"] == RESULT["rows"]


def test_show_of_an_unfinished_result_and_of_another_version(call: Call, root: Path) -> None:
    folder = create(root, "probe", PretrainConfig(), parent="gone")
    with begin(folder) as owner:
        owner.result({"part\x1b": [1, 2]})
        owner.transition("failed", error="the\x1b reason")
    called = call("show", folder.id)
    assert called.code == 0
    assert "1, 2" in called.out
    assert "the? reason" in called.out
    assert "\x1b" not in called.out
    assert "moco.queue_size" in called.out  # no setting of a probe: it differs from the defaults


def test_show_works_although_what_people_said_is_damaged(call: Call, root: Path) -> None:
    folder = trained(root, name="first")
    folder.user_path.write_text("{")
    called = call("show", folder.id)
    assert called.code == 0
    assert "first" in called.out
    assert "damaged" in called.err
    assert called.err.count("\n") == 1
    assert json.loads(call("show", folder.id, "--json").out)["user"]["tags"] == []


def test_show_json_has_no_bare_nan(call: Call, root: Path) -> None:
    folder = trained(root, losses=(1.0, math.nan))
    out = call("show", folder.id, "--json", "--log", "1").out
    facts = json.loads(out, parse_constant=lambda name: pytest.fail(f"bare {name}"))
    assert facts["last"]["train/loss"] == "NaN"
    assert "train/loss" not in facts["best"]
    assert facts["status"] == "finished"
    assert len(facts["log"]) == 1


def test_show_lays_the_best_beside_the_untrained_encoder(call: Call, root: Path) -> None:
    folder = trained(root, top1=22.0, untrained=40.0)
    rows = [line.split() for line in call("show", folder.id).out.splitlines()]
    at = rows.index(["metric", "last", "best", "untrained", "best", "over", "untrained"])
    assert ["train/loss", "10.50"] in rows[at:]  # a single batch has no best
    knn = next(row for row in rows if row[:1] == ["knn/top1"])
    assert knn == ["knn/top1", "22.0", "%", "22.0", "%", "40.0", "%", "-18.0", "pts"]
    facts = json.loads(call("show", folder.id, "--json").out)
    assert facts["untrained"] == {"knn/top1": 40.0}
    assert facts["gain"] == {"knn/top1": -18.0}
    row = json.loads(call("runs", "--json").out)[0]
    assert (row["best"]["knn/top1"], row["gain"]) == (22.0, -18.0)
    assert "-18.0" in call("runs").out
    (line,) = csv.DictReader(io.StringIO(call("runs", "--csv").out))
    assert (line["best_top1"], line["gain"]) == ("22.0", "-18.0")
    assert "untrained" not in call("show", trained(root).id).out


def test_show_model_lists_layers_shapes_and_parameters(call: Call, root: Path) -> None:
    folder = create(root, "pretrain", PretrainConfig())  # the notebook's encoder
    rows = json.loads(call("show", folder.id, "--model", "--json").out)
    assert rows[-1]["parameters"] == 356_128
    assert sum(row["parameters"] for row in rows[:-1]) == 356_128
    assert "356,128" in call("show", folder.id, "--model").out
    probe = probed(root, folder.id)
    assert call("show", probe.id, "--model").out == call("show", folder.id, "--model").out
    orphan = probed(root, "gone")
    called = call("show", orphan.id, "--model")
    assert (called.code, called.err.count("\n")) == (2, 1)


def test_a_probe_shows_which_encoder_it_is_about(call: Call, root: Path) -> None:
    parent = trained(root).id
    for step, words in ((40, "step 40 of 40, 100 %"), (8, "step 8 of 40, 20 %")):
        probe = probed(root, parent, encoder_step=step).id
        out = call("show", probe).out
        assert f"{parent}, {words}" in out
        assert f"pretrained encoder: {words}" in out
        line = next(line for line in call("runs").out.splitlines() if probe in line)
        assert words.rpartition(", ")[2] in line
    old = probed(root, parent, encoder_step=None).id
    out = call("show", old).out
    assert f"{parent}, step not recorded" in out
    assert "pretrained encoder: step not recorded" in out
    found = json.loads(call("runs", "--filter", "trained>0", "--json").out)
    assert old not in [run["id"] for run in found]


def test_show_says_where_a_run_came_from_and_of_an_earlier_one_that_it_does_not_know(
    call: Call, root: Path
) -> None:
    folder = trained(root)
    before = call("show", folder.id).out
    assert "where it came from\n  origin  not recorded" in before
    values = {"command": "moco-tui pretrain\x1b[31m", "program.commit": "a" * 40}
    with own(folder) as owner:
        owner.note_provenance(0, values, {})
        owner.note_provenance(2, values | {"packages.torch": "9.9"}, {})
    out = call("show", folder.id).out
    block = out.partition("where it came from\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split(maxsplit=1) for line in block[:2]] == [
        ["program", f"commit {'a' * 12}"],
        ["command", "moco-tui pretrain?[31m"],
    ]
    assert block[2].split() == ["from", "step", "2", "packages.torch", "–", "→", "9.9"]
    facts = json.loads(call("show", folder.id, "--json").out)
    assert [part["step"] for part in facts["provenance"]] == [0, 2]
    assert facts["study"] == ""


def test_show_has_mean_and_most_of_what_the_devices_did(call: Call, root: Path) -> None:
    folder = trained(root)
    write_history(folder.devices_path, [0.0, 1.0, 0.5], began=1.7e9)
    called = call("show", folder.id)
    assert (called.code, called.err) == (0, "")
    rows = {line[:34].strip(): line[34:].split() for line in called.out.splitlines()}
    assert rows["devices: NVIDIA H200"] == ["mean", "max", "last", "of"]
    assert rows["CPU"] == ["50", "%", "100", "%", "50", "%"]
    assert rows["card 0: power"] == ["300", "W", "500", "W", "300", "W", "700", "W"]
    facts = json.loads(call("show", folder.id, "--json").out)["devices"]
    assert facts["card0/temperature"] == {
        "label": "card 0: temperature",
        "unit": "°C",
        "mean": 50.0,
        "max": 60.0,
        "last": 50.0,
        "limit": None,
    }


def test_show_says_plainly_that_nothing_was_recorded_of_the_devices(call: Call, root: Path) -> None:
    folder = trained(root)
    folder.devices_path.unlink(missing_ok=True)  # as an earlier version leaves a run
    called = call("show", folder.id)
    assert "Nothing was recorded of the devices of this run." in called.out
    assert json.loads(call("show", folder.id, "--json").out)["devices"] == {}
    folder.devices_path.mkdir()
    called = call("show", folder.id)
    assert called.code == 0
    assert called.err.count("\n") == 1
    assert "a folder stands where a file should be" in called.err


def test_show_leaves_what_is_hostile_in_the_history_of_the_devices_unclean_nowhere(
    call: Call, root: Path
) -> None:
    folder = trained(root)
    odd = "\x1b]0;PLANTED\x07\u202e"
    part = {"began": 1, "every": 1, "columns": ["cpu", odd], "cards": [odd]}
    others = {"seconds": 1, "others": [{"card": 0, "pid": 1, "user": odd}]}
    lines = [json.dumps(line) for line in (part, [1, 50, 2], others)]
    folder.devices_path.write_text("\n".join(lines) + "\n")
    for args in (("show", folder.id), ("show", folder.id, "--json")):
        called = call(*args)
        assert called.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(called.out + called.err)
    assert "50 %" in call("show", folder.id).out
