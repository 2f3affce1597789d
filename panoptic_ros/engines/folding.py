"""A network made ready to run: batch norms folded into the convolutions before them, and what a system folds itself.

Nothing but rounding changes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from panoptic_ros.models.model import PanopticModel


def fold(model: PanopticModel) -> None:
    """Fold batch norms (`fold_batch_norms`) and then what the system knows of itself (`PanopticModel.fold`), in place.

    Parameters
    ----------
    model:
        In evaluation mode; it cannot learn afterwards.
    """
    fold_batch_norms(model)
    model.fold()


def fold_batch_norms(model: PanopticModel) -> int:
    """Fold every batch norm of `forward` into its convolution, in place.

    A batch norm is folded if it follows its convolution in their parent and is given its output, as one run of the
    system on a small input shows.  Its place is taken by `nn.Identity`.  What `decode` runs stays as it is, so that
    its weights fit a system that is built anew (`build_exported`).

    Parameters
    ----------
    model:
        In evaluation mode.

    Returns
    -------
    How many were folded.
    """
    pairs = _pairs(model)
    for parent, convolution, norm in pairs:
        first, second = getattr(parent, convolution), getattr(parent, norm)
        setattr(parent, convolution, fuse_conv_bn_eval(first, second))
        setattr(parent, norm, nn.Identity())
    return len(pairs)


def _pairs(model: PanopticModel) -> list[tuple[nn.Module, str, str]]:
    """The convolutions and batch norms that go together: their parent, and their names in it."""
    made_by: dict[int, nn.Module] = {}
    outputs: list[Tensor] = []  # kept, so that no other tensor is given the place of one
    given: dict[nn.Module, nn.Module | None] = {}

    def after_convolution(module: nn.Module, _: object, output: Tensor) -> None:
        outputs.append(output)
        made_by[id(output)] = module

    def before_norm(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        given[module] = made_by.get(id(arguments[0]))

    hooks = [
        module.register_forward_hook(after_convolution)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(before_norm)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    try:
        with torch.inference_mode():
            model(model.trial_input())
    finally:
        for hook in hooks:
            hook.remove()
    pairs = []
    for parent in model.modules():
        children = list(parent.named_children())
        for (name, module), (next_name, following) in pairwise(children):
            if not isinstance(module, nn.Conv2d) or not isinstance(following, nn.BatchNorm2d):
                continue
            if given.get(following) is module:
                pairs.append((parent, name, next_name))
    return pairs
