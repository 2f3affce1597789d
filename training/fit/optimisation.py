"""Optimisers and schedules of the learning rate.

"The thesis" is Diaz-Zapata 2020 (hal-02884735), sections 3.2.1 and 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class OptimizerOptions:
    """How weights follow their gradients.

    Attributes
    ----------
    kind:
        ``sgd``, as the thesis for the joint loss; ``adam``, as the thesis for the semantic networks; or ``adamw``.
    learning_rate:
        Of the schedule's start, positive.
    momentum:
        Of ``sgd``, in [0, 1).
    weight_decay:
        Of the weights of convolutions, not of biases and batch norms, which it would only pull out of place.  The
        thesis names none.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """How the learning rate goes on, step by step.

    Attributes
    ----------
    kind:
        ``poly``, (1 - t/T)^power (equation 3.2, which misprints the exponent's place); ``cosine``, half a period from
        1 to 0 (Loshchilov and Hutter 2017, without restarts); ``steps``, times `decay` after each of the `milestones`;
        or ``constant``.
    power:
        Of ``poly``, positive.
    milestones, decay:
        Of ``steps``: the epochs after which the rate falls, rising, and to which share of itself, in (0, 1).
    warmup_steps:
        For so many steps the rate rises evenly to what the schedule says.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    kind: Literal["poly", "cosine", "steps", "constant"] = "poly"
    power: float = 0.9
    milestones: tuple[int, ...] = ()
    decay: float = 0.5
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.power < math.inf:
            raise ValueError(f"power must be positive, got {self.power}")
        if (self.kind == "steps") != bool(self.milestones):
            raise ValueError(f"milestones are of 'steps', and 'steps' needs them: kind is {self.kind!r}")
        if any(later <= earlier for earlier, later in pairwise((0, *self.milestones))):
            raise ValueError(f"milestones must be positive and rising, got {list(self.milestones)}")
        if not 0.0 < self.decay < 1.0:
            raise ValueError(f"decay must be in (0, 1), got {self.decay}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {self.warmup_steps}")


def factor(options: ScheduleOptions, steps: int, epochs: int = 1) -> Callable[[int], float]:
    """The learning rate's factor as a function of the step, from 0 on.

    Parameters
    ----------
    steps:
        T, how many there are.
    epochs:
        How many epochs they make.
    """
    shapes: dict[str, Callable[[float], float]] = {
        "poly": lambda share: (1.0 - share) ** options.power,
        "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
        "steps": lambda share: 1.0,
        "constant": lambda share: 1.0,
    }
    shape = shapes[options.kind]

    def at(step: int) -> float:
        warm = min(1.0, (step + 1) / (options.warmup_steps + 1))
        past = sum(step * epochs >= milestone * steps for milestone in options.milestones)
        return warm * shape(min(1.0, step / max(1, steps))) * options.decay**past

    return at


def make_optimizer(options: OptimizerOptions, module: nn.Module) -> Optimizer:
    """The optimiser of the parameters that are not frozen.

    Raises
    ------
    ValueError
        If all are.
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not learning:
        raise ValueError("every part of the model is frozen; there is nothing to learn")
    groups = [
        {"params": [parameter for parameter in learning if parameter.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [parameter for parameter in learning if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.kind == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum)
    if options.kind == "adam":
        return torch.optim.Adam(groups, lr=options.learning_rate)
    return torch.optim.AdamW(groups, lr=options.learning_rate)
