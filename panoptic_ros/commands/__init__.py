"""The command line, ``panoptic-ros``."""
