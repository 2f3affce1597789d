"""Readers of the field's data sets, for evaluation, calibration and training alike."""

from __future__ import annotations

from panoptic_ros.datasets.dataset import DatasetError, PanopticDataset, Sample, Truth
from panoptic_ros.datasets.opening import open_dataset

__all__ = ["DatasetError", "PanopticDataset", "Sample", "Truth", "open_dataset"]
