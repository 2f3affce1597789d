"""Experiments: several trainings that differ in one thing each, over several seeds, and their tables and plots."""
