"""Learning curves: logs joined, drawn and written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from trainings import losses, write_training
from typer.testing import CliRunner

from panoptic_ros.configuration import ConfigurationError
from panoptic_training.commands.main import app
from panoptic_training.fit.curves import common_measures, draw_curves, read_curves


def log(run: Path, version: int, text: str) -> None:
    folder = run / "csv" / f"version_{version}"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(text)


@pytest.fixture
def resumed(tmp_path: Path) -> Path:
    """Killed after step 3 and gone on from step 2; version 10 comes after version 2."""
    run = tmp_path / "run"
    log(run, 0, "epoch,step,train/loss,val/pq\n0,0,5.0,\n0,1,4.0,\n0,1,,0.1\n1,2,3.5,\n1,3,3.4,\n1,3,,0.2\n")
    log(run, 2, "epoch,step,train/loss,val/pq\n1,2,3.0,\n")
    log(run, 10, "epoch,step,train/loss,val/iou,val/pq\n1,3,2.0,,\n1,3,,0.7,0.3\n")
    return run


def test_the_parts_of_a_run_are_joined(resumed: Path) -> None:
    curves = read_curves(resumed)
    assert curves.keys() == {"train/loss", "val/pq", "val/iou"}
    for name, (steps, values) in {
        "train/loss": ([0, 1, 2, 3], [5.0, 4.0, 3.0, 2.0]),
        "val/pq": ([1, 3], [0.1, 0.3]),
        "val/iou": ([3], [0.7]),
    }.items():
        np.testing.assert_array_equal(curves[name][0], steps)
        np.testing.assert_array_equal(curves[name][1], values)


def test_a_figure_has_a_panel_for_each_measure_and_a_line_for_each_run(resumed: Path) -> None:
    one = read_curves(resumed)
    runs = {"one": one, "other": {"train/loss": (np.array([0, 5]), np.array([1.0, 2.0]))}}
    measures = common_measures(list(runs.values()))
    assert measures == ["train/loss", "val/iou", "val/pq"]
    panels = draw_curves(runs, measures).axes
    assert [panel.get_title() for panel in panels] == measures
    assert [len(panel.lines) for panel in panels] == [2, 1, 1]
    np.testing.assert_array_equal(panels[0].lines[1].get_xydata(), [[0, 1], [5, 2]])
    with pytest.raises(ConfigurationError, match="no run has logged 'val/ap'; there are train/loss, val/iou, val/pq"):
        draw_curves(runs, ["val/ap"])


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no learning curves; expected csv/version_0/metrics\.csv"):
        read_curves(tmp_path)
    log(tmp_path, 0, "epoch,step,train/loss\n0,0,much\n")
    with pytest.raises(ConfigurationError, match=r"metrics\.csv: is no log of a training"):
        read_curves(tmp_path)


def test_the_command_draws_what_fit_has_logged(tmp_path: Path) -> None:
    config, run, out = write_training(tmp_path, pictures=0), tmp_path / "run", tmp_path / "curves.png"
    options = ["--config", config, "--data-root", tmp_path, "--out", run, "--device", "cpu"]
    assert CliRunner().invoke(app, ["fit", *map(str, options)]).exit_code == 0
    steps, values = read_curves(run)["train/loss"]
    found = losses(run)
    assert steps.tolist() == sorted(found)
    assert values.tolist() == [found[step]["train/loss"] for step in sorted(found)]
    done = CliRunner().invoke(app, ["curves", str(run), "--out", str(out), "--measure", "val/pq"])
    assert done.exit_code == 0, done.output
    single = cv2.imread(str(out))
    assert single.std() > 5
    assert CliRunner().invoke(app, ["curves", str(run), "--out", str(out)]).exit_code == 0
    assert cv2.imread(str(out)).shape[0] > single.shape[0]
    done = CliRunner().invoke(app, ["curves", str(run), "--out", str(tmp_path / "curves.pdf")])
    assert done.exit_code == 1
    assert "curves are written to a .png file" in " ".join(done.output.split())
