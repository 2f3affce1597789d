"""Readers of the field's data sets, for evaluation, calibration and training alike."""

from __future__ import annotations

from panoptic_ros.datasets.dataset import DatasetError, PanopticDataset, Sample, Truth

__all__ = ["DatasetError", "PanopticDataset", "Sample", "Truth"]
