"""Two processes learn what one learns from the same batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainings import losses, write_training


def train(config: Path, out: Path, *options: str) -> str:
    command = [sys.executable, "-m", "panoptic_training.commands.main", "fit", "--config", str(config)]
    command += ["--data-root", str(config.parent), "--out", str(out), "--device", "cpu", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """With frozen batch norms, whose statistics would else be of each part of the batch alone, and without the random
    moves of boxes, which each process makes of its own.
    """
    config = write_training(
        tmp_path, batch_size=4, batch_norm="frozen", loss={"instance": {"box_jitter": 0.0}}, epochs=2
    )
    said = train(config, tmp_path / "one"), train(config, tmp_path / "two", "--devices", "2")
    assert "4 steps by 2 processes" in said[1]
    assert said[0].rstrip().endswith("4 steps")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert sorted(one) == sorted(two) == [0, 1, 2, 3]
    for step, terms in one.items():
        assert terms.keys() == two[step].keys()
        for name, value in terms.items():
            assert two[step][name] == pytest.approx(value, rel=1e-5), f"{name} of step {step}"
    weights = [load_file(tmp_path / run / "last.safetensors") for run in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    # Three validation samples on two processes: each is measured once, so that what is counted is the same.
    measures = [dict(line.split(": ") for line in text.splitlines() if line.startswith("val/")) for text in said]
    for name in ("val/pq", "val/semantic_iou", "val/instance_iou", "val/mask_ap"):
        assert float(measures[0][name]) == pytest.approx(float(measures[1][name]), abs=2e-4)
