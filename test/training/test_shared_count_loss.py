"""Two processes that share a batch learn what one learns from the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from panoptic_ros.models.layers.instance_heads import InstanceHead
from panoptic_training.losses.counts import shared_count
from panoptic_training.losses.instances import InstanceLoss, InstanceLossOptions
from panoptic_training.losses.semantic import SemanticLoss, SemanticLossOptions
from panoptic_training.targets import IGNORE

OPTIONS = [
    SemanticLossOptions(),
    SemanticLossOptions((0.2, 3.0, 1.0)),
    SemanticLossOptions(hardest=0.3),
    SemanticLossOptions(dice=0.7),
    InstanceLossOptions(box_jitter=0.0),
    InstanceLossOptions(box_jitter=0.0, dice=0.7, class_weights=(0.2, 3.0, 1.0)),
]
Options = SemanticLossOptions | InstanceLossOptions


def whole_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Four images of which the last two, another process's, are mostly or wholly void."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((4, 3, 6, 7), generator=generator)
    labels = torch.randint(0, 3, (4, 6, 7), generator=generator)
    labels[2, 1:], labels[3] = IGNORE, IGNORE
    return logits, labels, torch.zeros((4, 6, 7), dtype=torch.int32)


def gradient(options: Options, part: slice) -> Tensor:
    """Of a factor that all logits or features share, as parameters are shared."""
    logits, labels, instances = (tensor[part] for tensor in whole_batch())
    factor = torch.ones(3, 1, 1, requires_grad=True)
    if isinstance(options, SemanticLossOptions):
        SemanticLoss(3, options)(logits * factor, labels, instances).backward()
    else:
        _masks(options, factor, logits, instances, part).backward()
    assert factor.grad is not None
    return factor.grad


def _masks(options: InstanceLossOptions, factor: Tensor, semantic: Tensor, instances: Tensor, part: slice) -> Tensor:
    """The instance loss where the first image has three instances, the second one, and others none."""
    boxes = torch.tensor([[0.0, 0.0, 3.0, 4.0], [2.0, 1.0, 7.0, 5.0], [1.0, 3.0, 4.0, 6.0]])
    counts = [3, 1, 0, 0][part]
    instances = instances.clone()
    for index, count in enumerate(counts):
        for row in range(count):
            x0, y0, x1, y1 = boxes[row].int().tolist()
            instances[index, y0 + 1 : y1, x0:x1] = row + 1
    torch.manual_seed(0)
    head = InstanceHead(3, "deep").eval()
    features = factor * torch.randn((4, 3, 3, 4), generator=torch.Generator().manual_seed(1))[part]
    classes = [torch.tensor([1, 0, 2])[:count] for count in counts]
    loss = InstanceLoss(3, options)
    total: Tensor = loss(head, features, semantic, instances, [boxes[:count] for count in counts], classes)
    return total


def process(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = [gradient(options, slice(2 * rank, 2 * rank + 2)) for options in OPTIONS]
        counts = [shared_count(torch.tensor(count * (1.0 - rank))) for count in (3.0, 0.0)]
        torch.save([*found, torch.stack(counts)], f"{folder}/{rank}")
    finally:
        distributed.destroy_process_group()


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / str(rank), weights_only=True) for rank in (0, 1))
    for options, one, other in zip(OPTIONS, first, second, strict=False):
        averaged = (one + other) / 2
        torch.testing.assert_close(averaged, gradient(options, slice(None)))
        alone = (gradient(options, slice(0, 2)) + gradient(options, slice(2, 4))) / 2
        assert not torch.allclose(alone, averaged)  # each by its own count, they would not
    assert first[-1].tolist() == second[-1].tolist() == [1.5, 0.5]


def test_a_count_alone_is_itself_and_nothing_divides_by_one() -> None:
    assert shared_count(torch.tensor(7)).item() == 7.0
    assert shared_count(torch.tensor(0.25)).item() == pytest.approx(0.25)
    assert shared_count(torch.tensor(0)).item() == 1.0
