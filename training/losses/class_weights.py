"""How much each class counts in a loss."""

from __future__ import annotations

ClassWeights = tuple[float, ...] | None
"""In the order of the label set, not negative nor all 0; None where all count alike."""


def check_class_weights(weights: ClassWeights) -> None:
    """Raise ValueError if they are out of their range."""
    if weights is not None and not (all(0.0 <= weight < float("inf") for weight in weights) and any(weights)):
        raise ValueError(f"class_weights must not be negative nor all 0, got {list(weights)}")


def weight_of_each(weights: ClassWeights, classes: int) -> list[float]:
    """One for each class, 1 where none were given.

    Raises
    ------
    ValueError
        If they are of another number of classes.
    """
    if weights is None:
        return [1.0] * classes
    if len(weights) != classes:
        raise ValueError(f"class_weights: expected one for each of {classes} classes, got {len(weights)}")
    return list(weights)
