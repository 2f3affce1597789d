"""Offline only: what trains the systems of `panoptic_ros`, and the synthetic world that they can learn from."""
