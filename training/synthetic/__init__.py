"""A street with exact truth: a procedural world, the sensors of a vehicle in it, and what they should have seen."""
