"""Dividing the frontages into lots: what stands where, before anything is built."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.buildings import Plot
from panoptic_training.synthetic.facades import Frame
from panoptic_training.synthetic.street import CROSS_LENGTH, KERB_HEIGHT, Block, Frontage, Layout, Road

BarrierKind = Literal["wall", "pickets", "railing", "boards", "hedge"]

_DEPTH = 11.5
_GARDEN_KINDS: tuple[BarrierKind, ...] = ("wall", "pickets", "hedge", "railing", "boards")


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """Something long and low from one place to another, both (3,) on the ground."""

    kind: BarrierKind
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class Planting:
    """A tree or bush: where (3,), its kind, its size relative to its kind's, and whether it is seen from near by.

    `pruned` ones reach over a road.
    """

    place: NDArray[np.float64]
    kind: str
    scale: float
    near: bool
    pruned: bool = False


@dataclass(slots=True)
class Lots:
    """All that stands along the frontages."""

    plots: list[Plot] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    plants: list[Planting] = field(default_factory=list)


def divide(layout: Layout, rng: np.random.Generator) -> Lots:
    """Plots, barriers and plants of every frontage, of the streets' ends and of the sidewalks."""
    lots = Lots()
    species = list(rng.choice(["linden", "plane", "maple", "birch", "bare"], 2, replace=False))
    for frontage in layout.frontages:
        if frontage.character == "park":
            _park(lots, layout, frontage, rng)
        elif frontage.character == "houses":
            _gardens(lots, layout, frontage, rng)
        else:
            _row(lots, layout, frontage, rng)
    for road in layout.roads:
        _ends(lots, road, rng)
    for block in layout.blocks:
        _street_trees(lots, layout, block, str(rng.choice(species)), rng)
    return lots


def _split(length: float, low: float, high: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Edges of lots of about `low` to `high` metres that fill a length."""
    count = max(int(length / rng.uniform(low, high)), 1)
    widths = rng.uniform(low, high, count)
    return np.concatenate([[0.0], np.cumsum(widths) * length / widths.sum()])


def _front(road: Road, frontage: Frontage, s0: float, s1: float, setback: float) -> Frame:
    a, b = road.place([s0, s1], frontage.side * (frontage.d + setback), KERB_HEIGHT)
    return Frame.between(a, b) if frontage.side > 0 else Frame.between(b, a)


def _row(lots: Lots, layout: Layout, frontage: Frontage, rng: np.random.Generator) -> None:
    """Wall to wall along the sidewalk; here and there a yard behind a high wall."""
    road = layout.roads[frontage.road]
    size = (17.0, 26.0) if frontage.character == "offices" else (6.5, 11.0)
    edges = frontage.s0 + _split(frontage.s1 - frontage.s0, *size, rng)
    last = len(edges) - 2
    yards = rng.random(last + 1) < (0.09 if frontage.character != "offices" else 0.0)
    for k, (a, b) in enumerate(itertools.pairwise(edges)):
        inner = 0 < k < last
        if yards[k] and inner:
            _yard(lots, road, frontage, float(a), float(b), rng)
            continue
        ends = frontage.corner0 and k == 0, frontage.corner1 and k == last
        seen = [ends[0] or (inner and bool(yards[k - 1])), ends[1] or (inner and bool(yards[k + 1]))]
        left, right = seen if frontage.side > 0 else seen[::-1]
        frame = _front(road, frontage, float(a), float(b), 0.0)
        lots.plots.append(Plot(frame, _DEPTH, frontage.character, left, right, frontage.road == 0))


def _yard(lots: Lots, road: Road, frontage: Frontage, a: float, b: float, rng: np.random.Generator) -> None:
    frame = _front(road, frontage, a, b, 0.1)
    height = float(rng.uniform(1.6, 2.3))
    lots.barriers.append(Barrier("wall", frame.place(0, 0, 0), frame.place(frame.width, 0, 0), height))
    place = frame.place(frame.width / 2, -0.05, -4.0)
    lots.plants.append(Planting(place, str(rng.choice(["maple", "birch", "linden"])), 0.8, True))


def _gardens(lots: Lots, layout: Layout, frontage: Frontage, rng: np.random.Generator) -> None:
    """Houses set back behind gardens, with something along the sidewalk and between the neighbours."""
    road = layout.roads[frontage.road]
    main = frontage.road == 0
    edges = frontage.s0 + _split(frontage.s1 - frontage.s0, 11.0, 15.0, rng)
    for a, b in itertools.pairwise(edges):
        setback = float(rng.uniform(4.0, 5.5))
        gap = float(rng.uniform(1.2, 1.8))
        frame = _front(road, frontage, float(a) + gap, float(b) - gap, setback)
        lots.plots.append(Plot(frame, 9.0, "houses", True, True, main))
        line = _front(road, frontage, float(a), float(b), 0.12)
        kind = _GARDEN_KINDS[int(rng.integers(len(_GARDEN_KINDS)))]
        height = float({"hedge": 1.4, "wall": 0.8, "boards": 1.5}.get(kind, 1.1) * rng.uniform(0.85, 1.2))
        gate = float(rng.uniform(1.0, max(line.width - 4.0, 1.1)))
        open_ = 1.1 if rng.random() < 0.5 else 2.9  # a gate, or a drive
        for u0, u1 in ((0.0, gate), (gate + open_, line.width)):
            if u1 - u0 > 0.4:
                lots.barriers.append(Barrier(kind, line.place(u0, 0, 0), line.place(u1, 0, 0), height))
        back = setback + 9.0
        side = "boards" if rng.random() < 0.6 else "hedge"
        lots.barriers.append(Barrier(side, line.place(0, 0, -0.2), line.place(0, 0, -back), 1.5))  # type: ignore[arg-type]
        for _ in range(int(rng.integers(1, 4))):
            place = line.place(rng.uniform(0.8, line.width - 0.8), -0.03, -rng.uniform(0.9, setback - 0.8))
            lots.plants.append(Planting(place, "bush", float(rng.uniform(0.5, 1.1)), main))
        if rng.random() < 0.45:
            place = line.place(rng.uniform(1.0, line.width - 1.0), -0.05, -rng.uniform(1.5, 2.6))
            kind_ = str(rng.choice(["birch", "maple", "spruce", "linden"]))
            lots.plants.append(Planting(place, kind_, float(rng.uniform(0.45, 0.7)), main))
        if rng.random() < 0.6:
            place = line.place(rng.uniform(1.0, line.width - 1.0), -0.05, -rng.uniform(back + 2, back + 8))
            lots.plants.append(Planting(place, str(rng.choice(["spruce", "linden", "maple"])), 0.9, False))
    for end, corner in ((edges[0], frontage.corner0), (edges[-1], frontage.corner1)):
        if corner:
            start, finish = road.place(
                [end, end], frontage.side * np.array([frontage.d + 0.12, frontage.d + 17.0]), KERB_HEIGHT
            )
            lots.barriers.append(Barrier("wall", start, finish, 1.3))


def _park(lots: Lots, layout: Layout, frontage: Frontage, rng: np.random.Generator) -> None:
    """Trees and bushes on grass behind a railing, a low wall or a hedge."""
    road = layout.roads[frontage.road]
    kind: BarrierKind = ("railing", "railing", "wall", "hedge")[int(rng.integers(4))]
    height = {"railing": 1.5, "wall": 0.9, "hedge": 1.2}[kind]
    length = frontage.s1 - frontage.s0
    edges = frontage.s0 + np.linspace(0, length, max(int(length / 4.0), 2) + 1)
    opening = int(rng.integers(1, len(edges)))
    points = road.place(edges, frontage.side * (frontage.d + 0.15), KERB_HEIGHT)
    for k, (a, b) in enumerate(itertools.pairwise(points)):
        if k != opening:
            lots.barriers.append(Barrier(kind, a, b, height))
    if frontage.road != 0:
        return
    kinds = list(rng.choice(["linden", "plane", "maple", "birch", "spruce", "poplar", "bare"], 3, replace=False))
    for s in np.arange(frontage.s0 + 4, frontage.s1 - 3, 9.0):
        for d in (4.0, 14.0, 26.0, 40.0):
            if rng.random() < 0.78:
                at = road.place(s + rng.uniform(-3, 3), frontage.side * (frontage.d + d + rng.uniform(-2, 3)), 0.0)
                lots.plants.append(Planting(at, str(rng.choice(kinds)), float(rng.uniform(0.75, 1.25)), d < 10))
        at = road.place(s + 3.0, frontage.side * (frontage.d + rng.uniform(1.5, 7)), 0.05)
        lots.plants.append(Planting(at, "bush", float(rng.uniform(0.7, 1.5)), True))


def _ends(lots: Lots, road: Road, rng: np.random.Generator) -> None:
    """Houses across the ends of a street."""
    for s, turn in ((road.curve.start, np.pi), (road.curve.end, 0.0)):
        pose = road.pose(s, 0.0, KERB_HEIGHT, turn)
        edges = 36.0 - _split(72.0, 8.0, 12.0, rng)
        corners = np.stack([np.full(len(edges), 14.0), edges, np.zeros(len(edges))], axis=-1) @ pose[:3, :3].T
        corners += pose[:3, 3]
        for a, b in itertools.pairwise(corners):
            lots.plots.append(Plot(Frame.between(a, b), _DEPTH, "terrace", False, False, False))


def _street_trees(lots: Lots, layout: Layout, block: Block, kind: str, rng: np.random.Generator) -> None:
    """A row of one kind beside the kerb, where nothing else needs the room."""
    if not block.verge and rng.random() < 0.45:
        return
    spacing = float(rng.uniform(9.0, 14.0))
    scale = float(rng.uniform(0.6, 0.95))
    taken = keep_clear(layout, block)
    for s in np.arange(block.s0 + 10.0, block.s1 - 9.0, spacing):
        if rng.random() < 0.88 and not any(a < s < b for a, b in taken):
            place = layout.main.place(s, block.side * (block.kerb + 0.8), KERB_HEIGHT - 0.02)
            lots.plants.append(Planting(place, kind, scale * float(rng.uniform(0.85, 1.15)), True, True))


def keep_clear(layout: Layout, block: Block) -> list[tuple[float, float]]:
    """Intervals of the main street where nothing may stand on a block's sidewalk: at crossings and bus stops."""
    crossings: Iterable[float] = (c.s for c in layout.crossings if c.road == 0)
    taken = [(s - 3.5, s + 3.5) for s in crossings]
    return taken + [(stop.s - 4.5, stop.s + 4.5) for stop in layout.bus_stops if stop.block == block.index]


def arm_places(layout: Layout, road: Road, spacing: float, offset: float) -> NDArray[np.float64]:
    """(N, 2) street coordinates beside both kerbs of a cross street, outside the junction."""
    half = layout.junctions[road.index - 1].half_width + offset
    s = np.concatenate([np.arange(6.0, CROSS_LENGTH - 22, spacing), np.arange(CROSS_LENGTH + 22, 154, spacing)])
    return np.concatenate([np.stack([s, np.full(len(s), half)], -1), np.stack([s + spacing / 2, -half + 0 * s], -1)])
