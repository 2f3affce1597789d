"""Paint on the road: thin surfaces a few millimetres above it, of class road.

Sizes are those of European urban markings (3 m dashes of 12 cm, zebra stripes of half a metre).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic_training.synthetic.facets import Facets, srgb
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.street import CROSS_LENGTH, Crossing, Lane, Layout, Road

ROAD = 7
HEIGHT = 0.005

_ARROW = np.array([[[0.0, -0.075], [2.9, -0.075], [2.9, 0.075], [0.0, 0.075]]])
_ARROW_HEAD = np.array([[[2.9, -0.38], [4.4, 0.0], [2.9, 0.38]]])
_BRANCH = np.array([[[0.9, 0.0], [1.2, 0.0], [2.0, 0.55], [1.75, 0.55]]])
_BRANCH_HEAD = np.array([[[1.55, 0.5], [2.25, 0.5], [2.05, 1.15]]])


class _Paint:
    """Places rectangles in street coordinates, cut so short that they follow the bends."""

    def __init__(self, color: NDArray[np.float64], rng: np.random.Generator) -> None:
        self.facets, self.color, self._rng = Facets(), color, rng

    def stripes(
        self, road: Road, s0: ArrayLike, s1: ArrayLike, d0: ArrayLike, d1: ArrayLike, color: ArrayLike | None = None
    ) -> None:
        """(N,) rectangles from s0 to s1 and from d0 to d1, each worn a little differently."""
        s0, s1, d0, d1 = (np.ravel(a).astype(np.float64) for a in np.broadcast_arrays(s0, s1, d0, d1))
        d0, d1 = np.minimum(d0, d1), np.maximum(d0, d1)
        kept = s1 - s0 > 0.05
        s0, s1, d0, d1 = s0[kept], s1[kept], d0[kept], d1[kept]
        pieces = np.maximum(np.ceil((s1 - s0) / 1.5), 1).astype(int)
        which = np.repeat(np.arange(len(s0)), pieces)
        number = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        step = ((s1 - s0) / np.maximum(pieces, 1))[which]
        a, b = s0[which] + number * step, s0[which] + (number + 1) * step
        corners = np.stack(
            [np.stack([a, b, b, a], 1), np.stack([d0[which], d0[which], d1[which], d1[which]], 1)], axis=-1
        )
        worn = self._rng.uniform(0.75, 1.0, len(s0))[which, None]
        self._paint(road, corners, (self.color if color is None else np.asarray(color)) * worn)

    def shape(
        self, road: Road, corners: NDArray[np.float64], s: float, d: float, direction: int, turn: int = 1
    ) -> None:
        """(N, 3 or 4, 2) polygons ahead and to the left of a place in a lane; `turn` -1 mirrors them."""
        placed = corners * [direction, direction * turn] + [s, d]
        self._paint(road, placed[:, ::-1] if turn < 0 else placed, self.color)

    def _paint(self, road: Road, corners: NDArray[np.float64], color: ArrayLike) -> None:
        points = road.place(corners[..., 0], corners[..., 1], HEIGHT)
        add = self.facets.quads if corners.shape[1] == 4 else self.facets.triangles
        add(points, ROAD, Material.MARKING, color, corners)


def build_markings(layout: Layout, rng: np.random.Generator) -> Mesh:
    """Centre lines, edge lines, parking bays, crossings, stop lines and arrows."""
    white = np.full(3, rng.uniform(0.5, 0.75)) * [1.0, 1.0, 0.96]
    yellow = srgb(226, 178, 52)
    paint = _Paint(white, rng)
    centre = yellow if rng.random() < 0.25 else white
    for road in layout.roads:
        _centre_line(paint, layout, road, centre)
    _edges(paint, layout, yellow if rng.random() < 0.4 else white)
    for crossing in layout.crossings:
        _crossing(paint, layout, crossing)
    _stop_lines(paint, layout)
    for stop in layout.bus_stops:
        _bus_box(paint, layout, stop.side, stop.s, yellow)
    return paint.facets.mesh()


def _centre_line(paint: _Paint, layout: Layout, road: Road, color: NDArray[np.float64]) -> None:
    """Dashes, solid where traffic waits; none on crossings and inside junctions."""
    lanes = [lane for lane in layout.lanes if lane.road == road.index]
    gaps, solids = [], []
    if road.index == 0:
        gaps = [(j.s - j.half_width - 7.5, j.s + j.half_width + 7.5) for j in layout.junctions]
    else:
        gaps = [(CROSS_LENGTH - 15.0, CROSS_LENGTH + 15.0)]
    gaps += [(c.s - c.width, c.s + c.width) for c in layout.crossings if c.road == road.index]
    for lane in lanes:
        for stop in layout.stops_of(lane):
            s = float(layout.road_s(lane, stop.s))
            solids.append((s - 16.0, s) if lane.direction > 0 else (s, s + 16.0))
    dashes = np.arange(road.curve.start, road.curve.end, 7.5)
    pieces = [(a, a + 3.0) for a in dashes if not any(b < a + 3.0 and a < e for b, e in solids)] + solids
    cut = _without(pieces, gaps)
    paint.stripes(road, cut[:, 0], cut[:, 1], -0.06, 0.06, color)


def _without(pieces: list[tuple[float, float]], gaps: list[tuple[float, float]]) -> NDArray[np.float64]:
    """(N, 2) what is left of intervals outside other intervals."""
    for begin, end in gaps:
        left = [(a, min(b, begin)) for a, b in pieces] + [(max(a, end), b) for a, b in pieces]
        pieces = [(a, b) for a, b in left if b - a > 0.05]
    return np.array(sorted(set(pieces))).reshape(-1, 2)


def _edges(paint: _Paint, layout: Layout, color: NDArray[np.float64]) -> None:
    """Parking bays' lines, or a line along the gutter."""
    main = layout.main
    for block in layout.blocks:
        gaps = [(c.s - 4.0, c.s + 4.0) for c in layout.crossings if c.road == 0]
        whole = [(block.s0 + 4.5, block.s1 - 4.5)]
        if not block.parking:
            cut = _without(whole, gaps)
            d = block.side * (main.lane_width + 0.1)
            paint.stripes(main, cut[:, 0], cut[:, 1], d - 0.05, d + 0.05, color)
    for spot in layout.spots:
        road = layout.roads[spot.road]
        inner = spot.side * (road.lane_width + 0.08)
        outer = inner + spot.side * (spot.width - 0.15)
        ends = np.array([-0.5, 0.5]) * 5.8 + spot.s
        paint.stripes(road, ends - 0.05, ends + 0.05, inner, outer)
        paint.stripes(road, ends - [0.0, 0.8], np.add(ends, [0.8, 0.0]), inner - 0.05, inner + 0.05)


def _crossing(paint: _Paint, layout: Layout, crossing: Crossing) -> None:
    """Half-metre stripes for a zebra, two dotted lines where lights decide."""
    road = layout.roads[crossing.road]
    kerbs = np.array(crossing.points)[1:3, :2]
    d = np.sort(road.curve.project(kerbs)[1])
    stripes = np.arange(d[0] + 0.35, d[1] - 0.5, 1.0)
    half = crossing.width / 2
    if crossing.zebra:
        paint.stripes(road, crossing.s - half, crossing.s + half, stripes, stripes + 0.5)
    else:
        for edge in (-half, half - 0.25):
            paint.stripes(road, crossing.s + edge, crossing.s + edge + 0.25, stripes, stripes + 0.5)


def _stop_lines(paint: _Paint, layout: Layout) -> None:
    """Lines across the lanes, broken where traffic gives way, and arrows before lights."""
    for stop in layout.stop_lines:
        lane = layout.lanes[stop.lane]
        road, s = layout.roads[lane.road], float(layout.road_s(lane, stop.s))
        inner, outer = sorted((lane.direction * -0.15, lane.offset * 2 - lane.direction * -0.15))
        signalised = stop.junction >= 0 and layout.junctions[stop.junction].signalised
        if signalised:
            paint.stripes(road, s - 0.2, s + 0.2, inner, outer)
            _arrow(paint, road, lane, s)
        else:
            marks = np.arange(inner, outer - 0.3, 0.75)
            paint.stripes(road, s - 0.15, s + 0.15, marks, marks + 0.45)


def _arrow(paint: _Paint, road: Road, lane: Lane, line: float) -> None:
    """Ahead or right, 9 m before the line."""
    s = line - lane.direction * 9.0
    for part in (_ARROW, _ARROW_HEAD):
        paint.shape(road, part, s, lane.offset, lane.direction)
    if lane.index % 2:
        for part in (_BRANCH, _BRANCH_HEAD):
            paint.shape(road, part, s, lane.offset, lane.direction, turn=-1)


def _bus_box(paint: _Paint, layout: Layout, side: int, s: float, color: NDArray[np.float64]) -> None:
    """The broken outline in which a bus halts."""
    main = layout.main
    marks = np.arange(s - 9.0, s + 8.5, 1.0)
    for d in (main.lane_width * 0.12, main.lane_width - 0.1):
        paint.stripes(main, marks, marks + 0.6, side * d, side * (d + 0.12), color)
    for end in (s - 9.1, s + 9.0):
        across = np.arange(main.lane_width * 0.15, main.lane_width - 0.4, 0.9)
        paint.stripes(main, end, end + 0.12, side * across, side * (across + 0.5), color)
