"""What the tests of ``evaluate`` and ``compare`` share: a small data set, its truth as predictions, and a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluating import COUNT, described
from fake_pipeline import FakePipeline
from small_coco import ids_of, write_dataset, write_predictions

from panoptic_ros.commands import evaluate


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", COUNT)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Predictions that are the truth."""
    return write_predictions(tmp_path / "truth.json", {index: ids_of(index) for index in range(COUNT)})


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(evaluate, "load_network", lambda *_: (described(), fake))
    return fake
