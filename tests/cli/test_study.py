"""The study as a command: what it refuses, prints, computes, and goes on with."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.data.dataset import load_dataset
from engine.history.history import History
from engine.jobs.execute import execute
from engine.runs import RunFolder, create, folder_names, ownership
from engine.sink import NullSink, Plan, Request
from engine.study.formats import SCHEMA
from engine.study.grid import pretrain_config, pretrainings, probe_config, probe_points
from engine.study.study_state import state_from_history
from engine.study.workers import Units
from moco_tui.cli.options import Settings
from moco_tui.cli.study_settings import study_key, unfinished_study
from moco_tui.training import detached as detach

from .conftest import Call, begin

CLASSES = ("airplane", "automobile", "bird", "cat")
SETS = {
    "queue_sizes": "16,48",
    "seeds": "0,1,2",
    "label_fractions": "0.5,1.0",
    "tasks": "all",
    "heads": "logistic",
    "subset_seeds": "0",
    "baselines": "random-init",
    "pretrain.optim.epochs": "1",
    "pretrain.optim.batch_size": "8",
    "pretrain.model.dim": "8",
    "pretrain.model.bn_splits": "1",
    "pretrain.monitor.knn_every": "0",
    "probe.logistic.l2": "1.0",
    "probe.logistic.max_iter": "5",
    "pretrain.runtime.threads": "1",
    "probe.runtime.threads": "1",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images to train on and twelve to test on, of four classes."""
    root = tmp_path_factory.mktemp("images")
    rng = random.Random(1)
    for part, count in (("train", 10), ("test", 3)):
        for number, name in enumerate(CLASSES):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                tone = bytes(rng.randrange(256) // (1 + number) for _ in range(3 * 32 * 32))
                Image.frombytes("RGB", (32, 32), tone).save(folder / f"{i}.png")
    return root


def args(images: Path, **changes: str) -> list[str]:
    sets = SETS | changes
    given = ["study", "--data", f"folder:{images}", "--device", "cpu"]
    return given + [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]


def config_of(images: Path, **changes: Any) -> StudyConfig:
    lists = ("queue_sizes", "seeds", "label_fractions", "subset_seeds")
    values: dict[str, Any] = {}
    for key, text in (SETS | changes).items():
        parts = text.split(",")
        values[key] = (
            [float(p) if "." in p else int(p) for p in parts]
            if key in lists
            else parts
            if key in ("tasks", "heads", "baselines", "probe.logistic.l2")
            else text
        )
    values["pretrain.data.source"] = f"folder:{images}"
    values |= {"pretrain.runtime.device": "cpu", "probe.runtime.device": "cpu"}
    return build(StudyConfig, values)


def fabricate(
    root: Path,
    config: StudyConfig,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    data: dict[str, Any] | None = None,
) -> None:
    """Finished runs for the cells of these seeds: K 48 is two points better, give or take."""
    seen = data or {}  # which images; nothing in version 0.1
    rng = random.Random(3)
    for size, seed in pretrainings(config):
        if seed not in seeds:
            continue
        folder = create(root, "pretrain", pretrain_config(config, size, seed))
        with begin(folder, Plan(total_steps=40, data=seen)) as owner:
            owner.transition("finished")
        for place in probe_points(config):
            one = probe_config(config, size, seed, place)
            probe = create(root, "probe", one, parent=folder.id)
            with begin(probe, Plan(total_steps=3, data=seen)) as owner:
                owner.result({"encoder_step": folder.record().step})
                for source in ("pretrained", *one.baselines):
                    base = {"pretrained": 60.0 + 2.0 * (size.queue_size == 48)}.get(source, 40.0)
                    top1 = base + rng.gauss(0, 0.05)
                    found = {"test_top1": top1, "test_balanced": top1, "test_majority": 25.0}
                    owner.metrics(1, 1.0, {f"probe/{source}/{k}": v for k, v in found.items()})
                owner.transition("finished")


# --------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--preset", "quick-stdy"], "quick-study"),
        (["--set", "queue_size=8192"], "queue_sizes=4096,16384"),
        (["--set", "queue_size=4096"], "queue_sizes"),
        (["--set", "pretrain.moco.queue_size=8192"], "queue_sizes"),
        (["--set", "seed=3"], "seeds=0,1,2"),
        (["--set", "pretrain.runtime.seed=3"], "seeds"),
        (["--set", "probe.head=linear"], "heads"),
        (["--set", "head=linear"], "heads"),
        (["--set", "label_fraction=0.1"], "label_fractions"),
        (["--set", "subset_seed=1"], "subset_seeds"),
        (["--set", "probe.baselines=pixels"], "baselines"),
        (["--set", "probe.task.name=five"], "tasks"),
        (["--set", "epochs=3"], "pretrain.optim.epochs"),
        (["--set", "tasks=twelve"], "twelve"),
        (["--set", "queue_sizes=0"], "queue_sizes"),
        (["--set", "seeds=1,1"], "once"),
        (["--set", "label_fractions=1.5"], "label_fractions"),
        (["--set", "heads=forest"], "logistic"),
        (["--set", "temperature=0"], "above 0"),
        (["--set", "queue_sizs=1"], "queue_sizes"),
        (["--data", "imagenet"], "folder:PATH"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--rows", "colour"], "source, task, fraction, head"),
        (["--rows", "task", "--columns", "task"], "different"),
        (["--only", "task"], "DIM=VALUE"),
        (["--only", "task=twelve"], "binary, five, ten"),
        (["--only", "x\x1b[2J=1"], "dimension"),
        (["--json", "--csv"], "one of them"),
        (["--csv", "--markdown"], "one of them"),
        (["--csv=pictures"], "estimates"),
        (["--detach", "--markdown"], "--json alone"),
        (["--dry-run", "--csv"], "--json alone"),
        (["--read-only"], "--read-only"),
        (["--data", "folder:/no/such/folder"], "/no/such/folder"),
        (["nobody"], "no runs"),
        (["nobody", "--set", "seeds=0"], "described anew"),
        (["one", "two"], "two"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(
    call: Call, root: Path, given: list[str], named: str
) -> None:
    called = call("study", *given)
    assert called.code == 2
    assert called.out == ""
    last = called.err.splitlines()[-1]
    assert last.startswith("moco-tui: ")
    assert named in last
    assert "\x1b" not in called.err
    assert folder_names(root) == []


def test_data_that_cannot_carry_the_study_is_refused_before_a_run_is_made(
    call: Call, root: Path, images: Path
) -> None:
    called = call(*args(images, tasks="ten"))
    assert (called.code, called.out) == (2, "")
    assert "ten classes" in called.err.splitlines()[-1]
    assert folder_names(root) == []


# --------------------------------------------------------------------------------------------
# Printing what is there


def test_show_computes_nothing_and_prints_the_tables(call: Call, root: Path, images: Path) -> None:
    fabricate(root, config_of(images), seeds=(0, 1))
    before = folder_names(root)
    called = call(*args(images), "--show", "--read-only")
    assert called.code == 0
    assert called.err == ""
    lines = [line.split() for line in called.out.splitlines()]
    assert ["source", "50", "%", "100", "%"] in lines
    assert ["majority", "share", "25.0", "25.0"] in lines
    row = next(line for line in lines if line[:2] == ["K", "48"])
    assert row[2].startswith("62.")
    assert row.count("2/3") == 2
    assert "no verdict (fewer than three seeds)" in called.out
    assert "The study is not complete (12 of 18 cells)" in called.out
    assert "read once for each cell" in called.out
    assert folder_names(root) == before


def test_what_is_complete_is_printed_and_not_computed_again(
    call: Call, root: Path, images: Path
) -> None:
    fabricate(root, config_of(images))
    before = folder_names(root)
    called = call(*args(images))
    assert called.code == 0
    assert "everything is done: 18 cells" in called.err
    assert "the larger dictionary is better in this study" in " ".join(called.out.split())
    assert folder_names(root) == before


def test_a_study_whose_images_were_replaced_is_not_done(
    call: Call, root: Path, images: Path, tmp_path: Path
) -> None:
    images = shutil.copytree(images, tmp_path / "own")
    config = config_of(images)
    data = load_dataset(config.pretrain.data, data_dir=tmp_path / "data").identity
    fabricate(root, config, data=data.facts())
    assert "everything is done: 18 cells" in call(*args(images)).err
    first = next(images.rglob("*.png"))
    ImageOps.invert(Image.open(first)).save(first)
    plan = json.loads(call(*args(images), "--dry-run", "--json").out)
    trained = len(pretrainings(config))
    # what tests alone see leaves the pretrainings as they are
    in_test = "test" in first.relative_to(images).parts
    assert plan["pretrainings"]["finished"] == (trained if in_test else 0)
    assert plan["cells"]["done"] == 0
    shutil.move(images, tmp_path / "away")
    called = call(*args(images))
    assert called.code == 0
    assert "everything is done: 18 cells" in called.err
    assert "it is not known whether what is done is of these images" in called.err


def test_threads_device_and_monitor_do_not_make_another_study(images: Path) -> None:
    one = config_of(images)
    for key, value in (
        ("pretrain.runtime.threads", "2"),
        ("probe.runtime.threads", "2"),
        ("pretrain.monitor.knn_every", "1"),
        ("pretrain.log.checkpoint_seconds", "7"),
    ):
        assert study_key(config_of(images, **{key: value})) == study_key(one)
    for key, value in (
        ("seeds", "0,1"),
        ("tasks", "five"),
        ("pretrain.moco.temperature", "0.2"),
        ("probe.logistic.l2", "2.0"),
    ):
        assert study_key(config_of(images, **{key: value})) != study_key(one)


def test_json_has_everything_and_stdout_nothing_else(call: Call, root: Path, images: Path) -> None:
    config = config_of(images)
    fabricate(root, config)
    called = call(*args(images), "--show", "--json")
    document = json.loads(called.out)
    assert document["schema"] == SCHEMA
    assert document["complete"] is True
    assert len(document["cells"]) == 18
    overall = [c for c in document["comparisons"] if c["scope"] == "all" and c["against"] == 16]
    assert [c["verdict"] for c in overall] == ["larger is better"]
    study_state = state_from_history(config, History(root))
    tops = [found.top1 for found in study_state.cells.values()]
    assert [cell["top1"] for cell in document["cells"]] == tops


def test_csv_and_markdown_are_tables_that_can_be_read_back(
    call: Call, root: Path, images: Path
) -> None:
    fabricate(root, config_of(images))
    cells = list(csv.DictReader(io.StringIO(call(*args(images), "--show", "--csv").out)))
    assert len(cells) == 18
    assert {line["state"] for line in cells} == {"done"}
    made = call(*args(images), "--show", "--csv=estimates").out
    estimates = [e for e in csv.DictReader(io.StringIO(made)) if e["metric"] == "top1"]
    assert len(estimates) == 6
    for line in estimates:  # the mean of the cells of the same source, queue and fraction
        same = [
            float(c["top1"])
            for c in cells
            if all(c[k] == line[k] for k in ("source", "queue_size", "label_fraction"))
        ]
        assert float(line["mean"]) == pytest.approx(sum(same) / len(same))
        assert line["kind"] == "interval"
    made = call(*args(images), "--show", "--csv=comparisons").out
    assert {line["against"] for line in csv.DictReader(io.StringIO(made))} == {"16", "random-init"}
    text = call(*args(images), "--show", "--markdown").out
    assert "| source | 50 % | 100 % |" in text
    assert "### Protocol" in text


def test_rows_columns_and_filters_arrange_the_table(call: Call, root: Path, images: Path) -> None:
    fabricate(root, config_of(images))
    shown = ("--show", "--rows", "fraction", "--columns", "source", "--only", "source=K 48,K 16")
    out = call(*args(images), *shown).out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "fraction K 48 K 16" in lines
    assert any(line.startswith("100 % 62.") for line in lines)
    alone = call(*args(images), "--show", "--only", "fraction=50%").out
    assert "source           50 %" in alone or "source          50 %" in alone
    assert "100 %  " not in alone.split("what it says")[0]


def test_a_narrow_terminal_gets_narrow_tables_and_wrapped_sentences(
    call: Call, root: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricate(root, config_of(images))
    monkeypatch.setattr("moco_tui.cli.study_output.terminal_width", lambda: 80)
    lines = call(*args(images), "--show").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("- K 48 - K 16, all 2 settings: +2.0 points (") for line in lines)
    wide = next(line for line in lines if line.startswith("K 48"))
    assert " - " in wide
    monkeypatch.setattr("moco_tui.cli.study_output.terminal_width", lambda: 40)
    narrow = call(*args(images), "--show").out.splitlines()
    assert next(line for line in narrow if line.startswith("K 48")).count("±") == 2


def test_the_dry_run_counts_what_is_left_and_makes_nothing(
    call: Call, root: Path, images: Path
) -> None:
    fabricate(root, config_of(images), seeds=(0, 2))
    before = folder_names(root)
    called = call(*args(images), "--dry-run", "--json")
    assert called.code == 0
    plan = json.loads(called.out)
    assert plan["cells"] == {
        **{"done": 12, "running": 0, "waiting": 0, "failed": 0, "missing": 6},
        "total": 18,
    }
    assert plan["pretrainings"] == {"finished": 4, "total": 6}
    counts = {cost["part"]: cost["count"] for cost in plan["costs"]}
    assert counts == {
        "pretrainings, without kNN": 2,
        "feature passes": 3,  # two encoders and the random one of the seed
        "logistic heads": 6,
    }
    assert plan["seconds"] == pytest.approx(sum(cost["seconds"] for cost in plan["costs"]))
    # both encoders and the momentum of each, and the two queues
    assert plan["disk_bytes"] > 4 * (16 + 48) * 8
    text = call(*args(images), "--dry-run")
    assert "6 pretrainings, 4 of them finished; 18 cells: 12 done, 6 missing" in text.out
    assert folder_names(root) == before


def test_nothing_is_left_of_a_complete_study(call: Call, root: Path, images: Path) -> None:
    fabricate(root, config_of(images))
    called = call(*args(images), "--dry-run")
    assert called.code == 0
    assert "nothing is left to do" in called.out


def test_runs_of_another_user_are_shown_and_left_to_do(
    call: Call, root: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(images)
    fabricate(root, config)
    begun = create(root, "study", config)
    real = ownership.owner_of
    theirs = set(folder_names(root))
    monkeypatch.setattr(
        ownership, "owner_of", lambda path: -1 if path.name in theirs else real(path)
    )
    assert json.loads(call(*args(images), "--dry-run", "--json").out)["cells"]["missing"] == 18
    for shown in (
        json.loads(call(*args(images), "--show", "--json").out),
        json.loads(call("show", begun.id, "--json").out)["study"],
    ):
        assert {cell["state"] for cell in shown["cells"]} == {"done"}
    own = [entry for entry in History(root).list() if entry.id not in theirs - {begun.id}]
    assert unfinished_study(Settings(str(root)), config, own) == begun, "where it is named"
    assert unfinished_study(Settings(str(root)), config, []) is None


# --------------------------------------------------------------------------------------------
# Computing


class Interrupter(NullSink):
    """Stops a study once it has so many cells."""

    def __init__(self, cells: int) -> None:
        self.cells, self.wanted = cells, False

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        self.wanted = self.wanted or step >= self.cells

    def request(self) -> Request | None:
        return "stop" if self.wanted else None

    def acknowledge(self, request: Request, step: int) -> None:
        self.wanted = False


def studies(root: Path) -> list[RunFolder]:
    found = [RunFolder(root / name) for name in folder_names(root)]
    return [folder for folder in found if folder.record().kind == "study"]


def test_an_interrupted_study_goes_on_and_then_only_prints(
    call: Call, root: Path, images: Path, tmp_path: Path
) -> None:
    small = {"seeds": "0", "queue_sizes": "16,48"}
    begun = create(root, "study", config_of(images, **small))
    assert execute(begun, data_dir=tmp_path / "data", sink=Interrupter(2)) == "stopped"
    done = [e.id for e in History(root).list("kind:probe status:finished")]
    assert done
    shown = json.loads(call(*args(images, **small), "--show", "--json").out)
    assert 0 < shown["cells_done"] < shown["cells_total"] == 6

    called = call(*args(images, **small), "--json")
    assert called.code == 0
    assert f"going on with study {begun.id}" in called.err
    document = json.loads(called.out)
    assert document["complete"] is True
    assert [folder.id for folder in studies(root)] == [begun.id]
    assert begun.record().status == "finished"
    runs = {cell["run"] for cell in document["cells"]}
    assert set(done) < runs  # what was there is in the table, and was not probed again
    assert len(History(root).list("kind:probe")) == len(runs) == 4
    assert len(History(root).list("kind:pretrain")) == 2

    again = call(*args(images, **small), "--json")
    assert again.code == 0
    assert json.loads(again.out) == {**document, "run": ""}
    assert [folder.id for folder in studies(root)] == [begun.id]


@pytest.mark.timeout(600)
def test_the_command_on_shapes_is_interrupted_by_a_signal_and_run_again(
    call: Call, root: Path
) -> None:
    small = SETS | {"seeds": "0", "tasks": "ten", "pretrain.data.limit": "100"}
    small |= {"label_fractions": "1.0"}
    sets = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    given = ["study", "--data", "shapes", "--device", "cpu", *sets]
    with subprocess.Popen(
        [sys.executable, "-m", "moco_tui", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=detach.child_environment(),
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said = []
        for line in process.stderr:  # ends with the process
            said.append(line)
            if ": pretrained " in line:  # the first probe is done
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.readlines()
        out = process.stdout.read()
    (folder,) = studies(root)
    assert process.returncode == 130, "".join(said)
    assert f"moco-tui resume {folder.id}" in said[-1]
    assert out.startswith("top-1 accuracy on the test images")
    assert "The study is not complete (" in out

    again = call(*given, "--json")
    assert again.code == 0
    document = json.loads(again.out)
    assert (document["complete"], document["run"]) == (True, folder.id)
    assert document["majority"] == {"ten": 10.0}
    assert folder.record().status == "finished"
    assert studies(root) == [folder]
    assert len(History(root).list("kind:pretrain status:finished")) == 2


def test_a_new_study_is_made_named_and_shown(call: Call, root: Path, images: Path) -> None:
    small = {"seeds": "0", "queue_sizes": "16", "label_fractions": "1.0", "baselines": "pixels"}
    called = call(*args(images, **small), "--name", "mine")
    assert called.code == 0
    (folder,) = studies(root)
    assert folder.record().name == "mine"
    assert f"study {folder.id} in " in called.err
    assert f"finished: run {folder.id}" in called.err
    assert "top-1 accuracy" not in called.err
    assert called.out.startswith("top-1 accuracy on the test images")
    # without a terminal the progress is plain lines
    assert "\r" not in called.err
    assert "study: 0/2 cells" in called.err.splitlines()

    shown = call("show", "mine")
    assert shown.code == 0
    assert called.out.strip() in shown.out
    facts = json.loads(call("show", "mine", "--json").out)
    assert facts["study"]["complete"] is True
    assert facts["kind"] == "study"

    tidy = call("study", "mine", "--show", "--csv")
    assert [line["source"] for line in csv.DictReader(io.StringIO(tidy.out))] == ["moco", "pixels"]
    probe = next(e for e in History(root).list("kind:probe"))
    called = call("study", probe.id)
    assert (called.code, called.out) == (2, "")
    assert "is a probe and no study" in called.err

    watched = call("watch", "mine")
    assert watched.code == 0
    assert "finished  cells 2/2" in watched.out
    resumed = call("resume", "mine")
    assert resumed.code == 2
    assert "nothing to resume" in resumed.err


def test_a_stopped_study_can_be_resumed_by_its_id(
    call: Call, root: Path, images: Path, tmp_path: Path
) -> None:
    small = {"seeds": "0", "queue_sizes": "16", "label_fractions": "0.5,1.0"}
    begun = create(root, "study", config_of(images, **small))
    execute(begun, data_dir=tmp_path / "data", sink=Interrupter(1))
    called = call("resume", begun.id)
    assert called.code == 0
    assert called.out.startswith("top-1 accuracy on the test images")
    assert begun.record().status == "finished"


def test_a_study_that_is_being_computed_is_not_begun_twice(
    call: Call, root: Path, images: Path
) -> None:
    config = config_of(images)
    begun = create(root, "study", config)
    with contextlib.ExitStack() as held:
        held.enter_context(begin(begun, Plan(total_steps=18)))
        for unit in range(len(pretrainings(config))):
            held.enter_context(Units(begun).claimed(unit))
        called = call(*args(images))
        assert (called.code, called.out) == (2, "")
        last = called.err.splitlines()[-1]
        assert f"moco-tui watch {begun.id}" in last
        assert call(*args(images), "--show").code == 0
    assert studies(root) == [begun]


def test_a_failure_of_one_run_prints_what_there_is_and_leaves_with_1(
    call: Call, root: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.jobs.pretrain_job as pretrain_job
    from engine.errors import TrainingError
    from engine.pretrain.loop import pretrain as real

    def failing(config: Any, **rest: Any) -> Any:
        if config.moco.queue_size == 48:
            raise TrainingError("The loss is not a number after step 3.")
        return real(config, **rest)

    monkeypatch.setattr(pretrain_job, "pretrain", failing)
    small = {"seeds": "0", "label_fractions": "1.0"}
    called = call(*args(images, **small), "--json")
    assert called.code == 1
    assert "The loss is not a number" in called.err.splitlines()[-1]
    document = json.loads(called.out)
    assert document["complete"] is False
    assert document["cells_done"] == 2
