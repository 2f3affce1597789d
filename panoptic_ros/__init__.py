"""Panoptic perception for robots: camera frames in, panoptic segmentation out."""

__version__ = "0.1.0"
