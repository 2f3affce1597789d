"""How far one engine's answers are from another's: raw outputs, and what is decoded from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.overlaps import overlaps
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far one output is from the reference's, over all frames.

    Attributes
    ----------
    name:
        The output's.
    largest, mean:
        Absolute differences.
    scale:
        The mean absolute value of the reference's.
    """

    name: str
    largest: float
    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class Parity:
    """What `compare_pipelines` has found.

    Attributes
    ----------
    frames:
        How many were compared.
    outputs:
        The raw outputs.
    pixels:
        Share of the pixels whose class or instance differs; instances count by number.
    agreement:
        Mean PQ of the other's segments with the reference's as the truth, in [0, 1]; None where there are none.
    reference_pq, other_pq:
        Mean PQ of both against the truth, where it was given.
    """

    frames: int
    outputs: tuple[OutputDifference, ...]
    pixels: float
    agreement: float | None
    reference_pq: float | None = None
    other_pq: float | None = None

    @property
    def delta_pq(self) -> float | None:
        """What the other's PQ is more than the reference's, in points of 100; None without a truth."""
        if self.reference_pq is None or self.other_pq is None:
            return None
        return 100.0 * (self.other_pq - self.reference_pq)


def compare_pipelines(
    reference: Pipeline, other: Pipeline, frames: Iterable[tuple[str, NDArray[np.uint8], Truth | None]]
) -> Parity:
    """Run two pipelines of one network over frames.

    Parameters
    ----------
    frames:
        Names, (h, w, 3) uint8 BGR images, and what is to be seen in them, in the pipelines' own label set, or None.

    Raises
    ------
    EvaluationError
        If a truth is not of its image or label set.
    """
    largest: dict[str, float] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    pixels, differing, count = 0, 0, 0
    agreement, of_reference, of_other = (PanopticQuality(reference.labels) for _ in range(3))
    for name, image, truth in frames:
        images, _ = reference.prepare([image])
        expected = {key: value.float().cpu().numpy() for key, value in reference.run(images).items()}
        found = {key: value.float().cpu().numpy() for key, value in other.run(images.to(other.device)).items()}
        for key, values in expected.items():
            apart = np.abs(found[key] - values)
            largest[key] = max(largest.get(key, 0.0), float(apart.max(initial=0.0)))
            total = np.array([apart.sum(dtype=np.float64), np.abs(values).sum(dtype=np.float64), values.size])
            sums[key] = sums.get(key, np.zeros(3)) + total
        ours, theirs = other([image])[0], reference([image])[0]
        pixels += theirs.ids.size
        differing += int(np.count_nonzero(ours.ids != theirs.ids))
        agreement.update(overlaps(name, ours, Truth(theirs), reference.labels))
        if truth is not None:
            of_reference.update(overlaps(name, theirs, truth, reference.labels))
            of_other.update(overlaps(name, ours, truth, reference.labels))
        count += 1
    return Parity(
        count,
        tuple(
            OutputDifference(key, largest[key], float(total[0] / total[2]), float(total[1] / total[2]))
            for key, total in sums.items()
        ),
        differing / max(pixels, 1),
        _pq(agreement.result()),
        _pq(of_reference.result()),
        _pq(of_other.result()),
    )


def _pq(result: PanopticQualityResult) -> float | None:
    return result.all.pq if result.all is not None else None
