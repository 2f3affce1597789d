"""An experiment's trainings: what they are, that they are run and go on, and what is said of their results."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from safetensors.torch import load_file
from trainings import CITYSCAPES, HEIGHT, WIDTH, write_training
from typer.testing import CliRunner, Result

from panoptic_ros.benchmarking.variants import network_flops
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import open_dataset
from panoptic_ros.evaluation.metrics import Metrics
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import load_weights
from panoptic_training.commands.main import app
from panoptic_training.data.samples import letterboxed
from panoptic_training.experiments.configuration import load_experiment
from panoptic_training.experiments.running import Fitting, run, unfinished
from panoptic_training.experiments.trials import Trial, merged, trials
from panoptic_training.fit.configuration import load_training_config, model_config
from panoptic_training.fit.measures import semantic_segmentation
from panoptic_training.fit.result import RESULT, TrainingResult

OURS = sorted(path.stem for path in (Path(__file__).parents[2] / "config" / "experiments").iterdir())
OTHERS = ["fusion", "pooling", "semantic_head", "instance_features", "instance_head"]


MERGE = {"run": "a", "outputs": {"semantic_logits": "a"}}
MERGED = [{"name": "b", "merge": MERGE}]


def write_experiment(folder: Path, **changes: Any) -> Path:
    """A detector, and two networks on it that differ in their semantic part."""
    write_training(folder, checkpoint_steps=1, pictures=0)
    start = {"run": "detector", "parts": ["detector"]}
    content = {
        "title": "Two networks",
        "base": "training.yaml",
        "budgets": {"detector": 2, "networks": 3},
        "changes": {"optimizer": {"learning_rate": 0.001}},
        "runs": [
            {"name": "detector", "steps": ["detector"], "changes": {"frozen": OTHERS}},
            {"name": "ppm", "steps": ["networks"], "start": start, "changes": {"frozen": ["detector"]}},
            {
                "name": "segnet",
                "steps": ["detector", "networks"],
                "start": start,
                "changes": {"network": {"semantic": "segnet", "taps": [3]}},
            },
        ],
        "tables": [
            {
                "name": "networks",
                "title": "Networks",
                "runs": ["ppm", "segnet"],
                "measures": ["semantic_iou", "pq", "seconds"],
                "orderings": [{"source": "Somebody", "measure": "pq", "runs": ["ppm", "segnet"]}],
            }
        ],
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def command(path: Path, out: Path, *options: object) -> list[str]:
    given = [path, "--out", out, "--data-root", path.parent, "--device", "cpu", *options]
    return ["experiment", *map(str, given)]


def invoke(path: Path, out: Path, *options: object) -> Result:
    return CliRunner().invoke(app, command(path, out, *options))


def expanded(path: Path, out: Path) -> list[Trial]:
    experiment, where = load_experiment(str(path))
    return trials(experiment, where, out, experiment.runs, experiment.seeds)


def test_trials_change_the_base(tmp_path: Path) -> None:
    experiment, path = load_experiment(str(write_experiment(tmp_path)))
    base = load_training_config(str(tmp_path / "training.yaml"))
    out = tmp_path / "out"
    found = trials(experiment, path, out, experiment.runs, (3, 5))
    assert [(one.run, one.seed, one.after) for one in found] == [
        (name, seed, after)
        for name, after in (("detector", ()), ("ppm", ("detector",)), ("segnet", ("detector",)))
        for seed in (3, 5)
    ]
    segnet = found[-1]
    assert segnet.folder == out / "runs" / "segnet" / "seed_5"
    expected = replace(
        base,
        optimizer=replace(base.optimizer, learning_rate=0.001),
        network={"semantic": "segnet", "taps": [3]},
        epochs=1,
        data=replace(base.data, samples_per_epoch=(2 + 3) * 2),
        weights=replace(
            base.weights,
            path=str((out / "runs" / "detector" / "seed_5" / "last.safetensors").resolve()),
            parts=("detector",),
        ),
        seed=5,
    )
    assert segnet.config == expected
    assert found[0].config.frozen == tuple(OTHERS)
    assert found[0].config.weights.path == ""


def test_changes_are_merged_key_by_key() -> None:
    before = {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "f": {"g": 1}, "h": None}
    changes = {"a": {"c": {"d": 3, "i": 4}}, "e": [5], "f": None, "h": {"j": 6}}
    assert merged(before, changes) == {
        "a": {"b": 1, "c": {"d": 3, "i": 4}},
        "e": [5],
        "f": None,
        "h": {"j": 6},
    }
    assert before["a"] == {"b": 1, "c": {"d": 2}}


def test_runs_are_chosen_with_what_they_start_from(tmp_path: Path) -> None:
    experiment, _ = load_experiment(str(write_experiment(tmp_path)))
    assert [one.name for one in experiment.needed_for(("segnet",))] == ["detector", "segnet"]
    assert [one.name for one in experiment.needed_for(("detector",))] == ["detector"]
    with pytest.raises(ConfigurationError, match="there is no run 'fpn'; there are detector, ppm, segnet"):
        experiment.needed_for(("fpn",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": []}, "there must be at least one run"),
        ({"runs": [{"name": "a"}, {"name": "a"}]}, "run a is there twice"),
        ({"runs": [{"name": "a/b"}]}, "a name of letters, digits and _ . . - is expected, got 'a/b'"),
        ({"runs": [{"name": "a", "steps": ["long"]}]}, "run a: steps: there is no budget 'long'; expected some of det"),
        ({"runs": [{"name": "a", "start": {"run": "b"}}, {"name": "b"}]}, "run a: start: no run 'b' stands before it"),
        ({"budgets": {"detector": 0, "networks": 1}}, "budget detector must be positive, got 0"),
        ({"seeds": [1, 1]}, "seed 1 is there twice"),
        ({"base": "none"}, "none.yaml: no such file"),
        ({"changes": {"epoch": 3}}, "run detector: .*unknown key 'epoch'"),
        ({"changes": {"network": {"head": 3}}}, "run detector: .*network: unknown key 'head'"),
        ({"tables": [{"name": "t", "title": "", "runs": ["x"], "measures": ["pq"]}]}, "table t: there is no run 'x'"),
        ({"tables": [{"name": "t", "title": "", "runs": [], "measures": ["pq"]}]}, "table t: runs and measures must"),
        ({"run": []}, "unknown key 'run'; expected one of base"),
        (
            {"runs": [{"name": "a"}, {"name": "b", "steps": ["networks"], "merge": MERGE}]},
            "run b: what is merged is not trained: it has no base, steps",
        ),
        ({"runs": [{"name": "a"}, {"name": "b", "merge": MERGE | {"outputs": {}}}]}, "outputs must name at least one"),
        (
            {"runs": [{"name": "a"}, {"name": "b", "merge": {"run": "a", "outputs": {"semantic_logits": "c"}}}]},
            "run b: merge: no run 'c' stands before it",
        ),
        (
            {"runs": [{"name": "x"}, {"name": "a", "merge": MERGE | {"run": "x", "outputs": {"y": "x"}}}, *MERGED]},
            "run b: merge: run 'a' is merged itself",
        ),
        ({"runs": [{"name": "a", "base": "none"}]}, "none.yaml: no such file"),
        ({"runs": [{"name": "a"}, *MERGED], "inference": {"runs": ["b"]}}, "inference: there is no training 'b'; "),
        ({"inference": {"runs": ["detector"], "rounds": 0}}, "rounds must be positive, got 0"),
        ({"changes": {"decode": {"score": 0.3}}}, "run detector: .*decode: unknown key 'score'"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_training(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_experiment(tmp_path, **{"tables": [], **changes})
    with pytest.raises((ConfigurationError, FileNotFoundError), match=said):
        expanded(path, tmp_path / "out")


@pytest.mark.parametrize("name", OURS)
def test_each_experiment_of_ours_can_be_read(name: str, tmp_path: Path) -> None:
    """And its networks be built, but for those of a cfg that does not come with the package."""
    experiment, path = load_experiment(name)
    for trial in trials(experiment, path, tmp_path, experiment.runs, experiment.seeds[:1]):
        config = model_config(trial.config)
        if "cfg" in trial.config.network:
            continue
        with torch.device("meta"):
            parts = dict(build_model(config).named_children())
        assert set(trial.config.frozen) <= parts.keys(), trial.run
        assert all(side % 32 == 0 for side in trial.config.augmentation.affine.crop)


def test_an_experiment_that_is_killed_goes_on_and_ends_as_it_would_have(tmp_path: Path) -> None:
    """Killed with its trainings while the first of them is done and the second has taken a step."""
    path, out, whole = write_experiment(tmp_path), tmp_path / "out", tmp_path / "whole"
    runs = out / "runs"
    with (tmp_path / "said.txt").open("wb") as said:
        arguments = [sys.executable, "-m", "panoptic_training.commands.main", *command(path, out)]
        process = subprocess.Popen(arguments, stdout=said, stderr=said, start_new_session=True)
        try:
            while not (runs / "ppm" / "seed_0" / "last.ckpt").is_file():
                assert process.poll() is None, (tmp_path / "said.txt").read_text()
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    first = runs / "detector" / "seed_0" / RESULT
    written = first.stat().st_mtime_ns
    done = invoke(path, out)
    assert done.exit_code == 0, done.output
    assert first.stat().st_mtime_ns == written  # it was finished, and not run again
    assert invoke(path, whole).exit_code == 0
    for name in ("detector", "ppm", "segnet"):
        one, other = (TrainingResult.load(folder / "runs" / name / "seed_0" / RESULT) for folder in (out, whole))
        assert one.measures == other.measures, name
        assert one.steps == other.steps == {"detector": 2, "ppm": 3, "segnet": 5}[name]

    pretrained = load_file(whole / "runs" / "detector" / "seed_0" / "last.safetensors")
    taken = load_file(whole / "runs" / "ppm" / "seed_0" / "last.safetensors")
    detector = [name for name in pretrained if name.startswith("detector.")]
    assert all(torch.equal(taken[name], pretrained[name]) for name in detector)
    changed = load_file(whole / "runs" / "segnet" / "seed_0" / "last.safetensors")
    assert not all(torch.equal(changed[name], pretrained[name]) for name in detector)
    start = build_model(load_model_config(str(tmp_path / "tiny.yaml"))).state_dict()
    assert not torch.equal(pretrained[detector[0]], start[detector[0]])
    assert torch.equal(pretrained["semantic_head.0.weight"], start["semantic_head.0.weight"])

    content = json.loads((whole / "results.json").read_text())
    assert list(content) == ["detector", "ppm", "segnet"]
    result = TrainingResult.load(whole / "runs" / "ppm" / "seed_0" / RESULT)
    assert content["ppm"]["0"]["pq"] == result.measures["pq"]
    assert content["ppm"]["0"]["seconds"] == pytest.approx(
        result.seconds["waiting for a batch"] + result.seconds["training step"]
    )
    report = (whole / "report.md").read_text()
    assert "# Two networks" in report
    assert f"| ppm | 1 | {100 * result.measures['semantic_iou']:.1f} |" in report
    assert "Somebody, by PQ: ppm > segnet. Here:" in report
    assert cv2.imread(str(whole / "networks.png")).std() > 5
    (whole / "report.md").unlink()
    (whole / "networks.png").unlink()
    assert invoke(path, whole, "--report").exit_code == 0
    assert (whole / "report.md").read_text() == report
    assert (whole / "networks.png").is_file()


def test_what_starts_from_a_failed_training_is_not_started(tmp_path: Path) -> None:
    start = {"run": "wrong", "parts": ["detector"]}
    runs = [
        {"name": "wrong", "steps": ["networks"], "changes": {"data": {"train": [{"path": "nothing"}]}}},
        {"name": "after", "steps": ["networks"], "start": start},
        {"name": "later", "steps": ["networks"], "start": {"run": "after"}},
        {"name": "alone", "steps": ["networks"]},
    ]
    table = {"name": "t", "title": "T", "runs": ["alone", "wrong"], "measures": ["pq"]}
    done = invoke(write_experiment(tmp_path, runs=runs, tables=[table]), tmp_path / "out", "--jobs", 2)
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "wrong, seed 0: ended with 1: " in said
    assert "nothing: is no folder" in said
    assert "after, seed 0: it starts from wrong, which has failed" in said
    assert "later, seed 0: it starts from after, which has failed" in said
    assert "3 of 4 trainings have failed" in said
    assert (tmp_path / "out" / "runs" / "alone" / "seed_0" / RESULT).is_file()
    assert "| wrong | 0 | – |" in (tmp_path / "out" / "report.md").read_text()


def test_results_of_another_configuration_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = expanded(write_experiment(tmp_path), out)
    assert unfinished(before) == before
    folder = before[1].folder
    folder.mkdir(parents=True)
    (folder / "training.yaml").write_text(yaml.safe_dump(before[1].config.plain()))
    TrainingResult(1, 1, {}, {}, {}).save(folder / RESULT)
    assert unfinished(expanded(write_experiment(tmp_path), out)) == [before[0], before[2]]
    changed = write_experiment(tmp_path, changes={"optimizer": {"learning_rate": 0.5}})
    with pytest.raises(ConfigurationError, match=r"has changed since this was begun: optimizer\.learning_rate differ;"):
        unfinished(expanded(changed, out))


class Silent:
    """Nobody watches."""

    def started(self, trial: Trial) -> None:
        raise AssertionError("nothing may start")

    def ended(self, trial: Trial, error: str) -> None:
        raise AssertionError("nothing may end")


def test_two_networks_that_were_trained_apart_are_validated_as_one(tmp_path: Path) -> None:
    """Against both networks, one sample after another: the outputs of one and the semantic logits of the other."""
    second = yaml.safe_load(write_training(tmp_path).read_text())
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(second | {"optimizer": {"learning_rate": 0.05}}))
    runs = [
        {"name": "one", "steps": ["networks"], "changes": {"frozen": ["semantic_head"]}},
        {"name": "other", "base": "other.yaml", "steps": ["networks"]},
        {"name": "both", "merge": {"run": "one", "outputs": {"semantic_logits": "other"}}},
    ]
    table = {"name": "t", "title": "T", "runs": ["one", "both"], "measures": ["pq", "milliseconds", "flops"]}
    changes = {"decode": {"score_threshold": 0.01}, "augmentation": {"photometric": None}}
    path = write_experiment(
        tmp_path,
        runs=runs,
        tables=[table],
        changes=changes,
        inference={"runs": ["one"], "threads": 1, "frames": 2, "rounds": 2},
    )
    out = tmp_path / "out"
    found = expanded(path, out)
    assert [(one.run, one.after) for one in found] == [("one", ()), ("other", ()), ("both", ("one", "other"))]
    assert [one.config.optimizer.learning_rate for one in found] == [0.01, 0.05, 0.01]
    assert [one.name for one in load_experiment(str(path))[0].needed_for(("both",))] == ["one", "other", "both"]
    done = invoke(path, out)
    assert done.exit_code == 0, done.output

    ends = [out / "runs" / name / "seed_0" / "last.safetensors" for name in ("one", "other")]
    networks = []
    for weights in ends:
        config = load_model_config(str(weights))
        assert config.decode.score_threshold == 0.01  # the exported weights have what validation had
        networks.append(build_model(config))
        load_weights(networks[-1], weights)
    networks[0].untrained = frozenset()
    panoptic, semantic = Metrics(CITYSCAPES, ("panoptic_quality",)), Metrics(CITYSCAPES, ("semantic_iou",))
    for sample in open_dataset(tmp_path / "drawn", split="val", labels="cityscapes"):
        view, letterbox = letterboxed(sample, HEIGHT, WIDTH)
        image = torch.from_numpy(view.image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255.0
        with torch.no_grad():
            outputs, others = (network(image) for network in networks)
        outputs["semantic_logits"] = others["semantic_logits"]
        [value] = networks[0].decode(outputs, [letterbox], config.decode)
        panoptic.update(sample.name, value, sample.truth)
        logits = outputs["semantic_logits"][0]
        stride = WIDTH // logits.shape[-1]
        semantic.update(sample.name, semantic_segmentation(logits, stride, letterbox, CITYSCAPES), sample.truth)
    measured = TrainingResult.load(out / "runs" / "both" / "seed_0" / RESULT)
    quality, classes = panoptic.result().panoptic_quality, semantic.result().semantic_iou
    assert quality is not None
    assert quality.all is not None
    assert classes is not None
    assert measured.measures["pq"] == pytest.approx(quality.all.pq, abs=1e-6)
    assert measured.measures["semantic_iou"] == pytest.approx(classes.mean_iou, abs=1e-6)
    assert measured.parameters == sum(value.numel() for network in networks for value in network.parameters())
    assert "loss" not in measured.measures

    content = json.loads((out / "results.json").read_text())
    costs = content["one"]["0"]
    assert costs["milliseconds"] > 0
    assert costs["flops"] >= costs["network_flops"] == network_flops(str(ends[0]), (HEIGHT, WIDTH)) > 0
    assert "milliseconds" not in content["both"]["0"]
    assert not unfinished(found)  # also what was only validated


def test_two_experiments_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match=r"out: another process runs trainings there"):
            run(expanded(write_experiment(tmp_path), out), Fitting(out, tmp_path), Silent())


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    done = invoke(write_experiment(tmp_path), tmp_path / "out", "--report")
    assert done.exit_code == 1
    assert "there is no result yet" in done.output
