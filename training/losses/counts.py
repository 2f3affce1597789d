"""What a sum is divided by when several processes share a batch."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def shared_count(count: Tensor) -> Tensor:
    """The mean of a count over all processes, or 1 where it is 0 in all of them.

    Processes average their gradients.  Sums that each divides by this mean then add up to what one process would get
    from the whole batch; divided by each one's own count, pixels or objects of a process that has few would weigh more.

    Parameters
    ----------
    count:
        Scalar, of this process's part of the batch, not negative.

    Returns
    -------
    Scalar float32, without gradient.
    """
    total = count.detach().float()
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        total = total.clone()
        distributed.all_reduce(total)
        processes = distributed.get_world_size()
    return torch.where(total > 0, total, 1.0) / processes
