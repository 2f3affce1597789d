"""What makes a loss known by its system's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class SystemLoss(NamedTuple):
    """What a system learns by.

    A loss takes images (B, 3, H, W) float32 RGB in [0, 1] and their `Targets`, runs the model itself and returns
    scalars by name: its terms, unweighted, and ``loss``, their weighted sum.  Its ``evaluate`` returns beside them what
    the model's own forward gives, from the same run of the model.  It holds the model as ``model``.

    Attributes
    ----------
    loss:
        Makes the loss of a model and options.
    options:
        The dataclass of its options, the configuration's ``loss``.
    """

    loss: Callable[[Any, Any], nn.Module]
    options: type
