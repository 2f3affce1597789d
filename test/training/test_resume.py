"""A training that is killed goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainings import losses, write_training
from typer.testing import CliRunner

from panoptic_training.commands.main import app

# Kills itself, as the system would, at the start of what is named: (hook, epoch, batch).
KILLED = """
import os, signal, sys
from panoptic_training.commands.main import app
from panoptic_training.fit.module import PanopticTraining
hook, epoch, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
before = getattr(PanopticTraining, hook)
def killing(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (epoch, number):
        os.kill(os.getpid(), signal.SIGKILL)
    return before(self, batch, batch_idx)
setattr(PanopticTraining, hook, killing)
app(["fit", *sys.argv[4:]])
"""

STEPS_PER_EPOCH = 4


def arguments(config: Path, out: Path) -> list[str]:
    return ["--config", str(config), "--data-root", str(config.parent), "--out", str(out), "--device", "cpu"]


def fit(*given: str) -> str:
    done = CliRunner().invoke(app, ["fit", *given])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the run of it that nobody has killed."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_training(
        folder,
        epochs=3,
        checkpoint_steps=3,
        averaging={"decay": 0.9},
        schedule={"kind": "poly", "warmup_steps": 2},
        early_stopping={"measures": ["loss"], "patience": 5},
    )
    fit(*arguments(config, folder / "whole"))
    return config, folder / "whole"


@pytest.mark.parametrize(
    ("hook", "epoch", "batch", "first_step"),
    [
        ("on_train_batch_start", 1, 3, 6),  # mid-epoch: the checkpoint of step 6 is there, a further step is lost
        ("on_train_batch_start", 1, 0, 4),  # between two epochs
        ("validation_step", 2, 0, 9),  # between the last step of an epoch and its validation
    ],
)
def test_a_killed_training_goes_on_exactly(
    whole: tuple[Path, Path], tmp_path: Path, hook: str, epoch: int, batch: int, first_step: int
) -> None:
    config, reference = whole
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, hook, str(epoch), str(batch), *arguments(config, out)]
    # A sum depends on how many threads have shared it, and another test may have set that for this process.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert not list(out.glob(".*.part")), "a checkpoint was half-written"
    fit(*arguments(config, out), "--resume")

    expected, found = losses(reference), losses(out, version=1)
    assert sorted(found) == list(range(first_step, 3 * STEPS_PER_EPOCH))
    for step, terms in found.items():
        assert terms == expected[step], f"step {step}"
    states = [torch.load(run / "last.ckpt", weights_only=True) for run in (reference, out)]
    for part in ("state_dict", "current_model_state"):
        assert states[0][part].keys() == states[1][part].keys()
        for name, tensor in states[0][part].items():
            assert torch.equal(tensor, states[1][part][name]), name
    momenta = [state["optimizer_states"][0]["state"] for state in states]
    assert all(
        torch.equal(momenta[0][key]["momentum_buffer"], momenta[1][key]["momentum_buffer"]) for key in momenta[0]
    )
    for name in ("last.safetensors", "best.safetensors"):
        weights = [load_file(run / name) for run in (reference, out)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())


def test_another_configuration_is_refused(whole: tuple[Path, Path], tmp_path: Path) -> None:
    config, reference = whole
    other = tmp_path / "training.yaml"
    text = config.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02").replace("seed: 0", "seed: 1")
    other.write_text(text.replace("tiny.yaml", str(config.parent / "tiny.yaml")))
    done = CliRunner().invoke(app, ["fit", *arguments(other, reference), "--data-root", str(config.parent), "--resume"])
    assert done.exit_code == 1
    assert "is of another training" in done.output
    assert "optimizer.learning_rate" in done.output


def test_a_finished_run_is_not_overwritten(whole: tuple[Path, Path]) -> None:
    config, reference = whole
    done = CliRunner().invoke(app, ["fit", *arguments(config, reference)])
    assert done.exit_code == 1
    assert "a training is there already; go on with --resume, or choose another --out" in " ".join(done.output.split())
