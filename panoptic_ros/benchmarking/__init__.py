"""How fast the pipeline is on this machine: variants side by side, stage by stage, with what the figures depend on."""

from __future__ import annotations

from panoptic_ros.benchmarking.machine import environment
from panoptic_ros.benchmarking.rounds import Spent, Stopwatch, Times, in_rounds, measure

__all__ = ["Spent", "Stopwatch", "Times", "environment", "in_rounds", "measure"]
