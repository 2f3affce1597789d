"""Drawing up the streets of one drive."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.curve import Curve
from panoptic_training.synthetic.outline import block_outline
from panoptic_training.synthetic.street import (
    BLOCK_DEPTH,
    CORNER_RADIUS,
    CROSS_LENGTH,
    CROSS_WALK,
    CROSSING_WIDTH,
    KERB_HEIGHT,
    MARGIN,
    Block,
    BusStop,
    Character,
    Crossing,
    Frontage,
    Junction,
    Lane,
    Layout,
    ParkingSpot,
    Road,
    Side,
    StopLine,
    Walk,
)

_PARKING = 2.2  # metres of a parking strip
_GUTTER = 0.35  # between a lane and a kerb without parking
_STRAIGHT = 14.0  # metres on either side of a cross street where the main street does not turn
_CORNER_LOT = 13.0  # depth of the lots along the main street, where the cross streets' lots begin
_CROSSING_SETBACK = CORNER_RADIUS + 0.3 + CROSSING_WIDTH / 2  # from the kerb of the other street
_SIDES: tuple[Side, Side] = (1, -1)


def plan(kind: type[Layout], seed: int, length: float) -> Layout:
    """Streets for a drive of `length` metres, the same for the same seed; see `Layout.make`."""
    if not math.isfinite(length) or length < 50:
        raise ValueError(f"a drive needs a street of at least 50 m, got {length} m")
    rng = np.random.default_rng([seed, 1])
    junctions = _junctions(rng, length)
    main = Road(0, _main_curve(rng, length, junctions), lane_width=float(rng.choice([3.1, 3.3, 3.5])))
    roads = [main]
    for junction in junctions:
        heading = float(main.curve.evaluate(junction.s)[1]) + np.pi / 2
        start = main.place(junction.s, -CROSS_LENGTH)
        curve = Curve([0.0, 2 * CROSS_LENGTH], [0.0, 0.0], (float(start[0]), float(start[1])), heading)
        roads.append(Road(junction.road, curve, lane_width=3.0))
    lanes: list[Lane] = []
    for road in roads:
        for direction in _SIDES:
            offset = -direction * road.lane_width / 2
            lanes.append(Lane(len(lanes), road.index, direction, offset, road.lane_width, road.curve.length))
    layout = kind(seed, float(length), roads, lanes, junctions, _blocks(rng, main, junctions))
    layout.walks.extend(_walk(block, main) for block in layout.blocks)
    _cross(rng, layout)
    for block in layout.blocks:
        _front(layout, block)
        if block.parking and block.s1 - block.s0 > 50 and rng.random() < 0.4:
            layout.bus_stops.append(
                BusStop(block.index, block.side, block.s1 - 24.0 if block.side < 0 else block.s0 + 24.0)
            )
    if not layout.bus_stops:  # every drive has one
        block = max((b for b in layout.blocks if b.side < 0), key=lambda b: b.s1 - b.s0)
        layout.bus_stops.append(BusStop(block.index, block.side, block.s1 - 24.0))
    _park(layout)
    return layout


def _junctions(rng: np.random.Generator, length: float) -> list[Junction]:
    places = [float(rng.uniform(38, 62))]
    while (following := places[-1] + float(rng.uniform(68, 118))) < length + MARGIN - 30.0:
        places.append(following)
    junctions = []
    for index, s in enumerate(places):
        signalised = bool(index == 0 or rng.random() < 0.55)
        half_width = 3.0 + (_PARKING if rng.random() < 0.4 else _GUTTER)
        phase = float(rng.uniform(0, 40))
        junctions.append(Junction(index, index + 1, s, CROSS_LENGTH, half_width, signalised, phase))
    return junctions


def _main_curve(rng: np.random.Generator, length: float, junctions: list[Junction]) -> Curve:
    """Straight around junctions; between them one bend each, easing in and out, that keeps the general direction."""
    edges = [-MARGIN, *(edge for j in junctions for edge in (j.s - j.half_width, j.s + j.half_width)), length + MARGIN]
    knots, curvatures, heading = [-MARGIN], [0.0], 0.0
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        first, last = begin + _STRAIGHT, end - _STRAIGHT
        if last - first < 12:
            continue
        ease = (last - first) / 3
        turn = min(2 * ease / 90.0, max(end - begin - 42.0, 0.0) / 85.0) * float(rng.uniform(0.15, 1.0))
        sign = float(rng.choice([-1, 1])) if abs(heading) < 0.25 else -np.sign(heading)
        bend = sign * turn / (2 * ease)
        knots += [first, first + ease, last - ease, last]
        curvatures += [0.0, bend, bend, 0.0]
        heading += sign * turn
    return Curve([*knots, length + MARGIN], [*curvatures, 0.0])


def _blocks(rng: np.random.Generator, main: Road, junctions: list[Junction]) -> list[Block]:
    blocks: list[Block] = []
    bounds = [(main.curve.start, -1, -1), *((j.s, j.index, j.index) for j in junctions), (main.curve.end, -1, -1)]
    recent: list[Character] = []
    for (s0, before, _), (s1, _, after) in itertools.pairwise(bounds):
        begin = s0 + (junctions[before].half_width if before >= 0 else 0.0)
        end = s1 - (junctions[after].half_width if after >= 0 else 0.0)
        for side in _SIDES:
            choices: list[Character] = ["shops", "terrace", "houses", "offices", "park"]
            left = [c for c in choices if c not in recent[-3:]]
            character = cast(Character, str(rng.choice(left)))
            if len(blocks) == 3 and "houses" not in recent:
                character = "houses"  # their gardens have walls and fences, which no drive may lack
            recent.append(character)
            parking = bool(rng.random() < 0.6)
            verge = bool(character in ("houses", "park") or rng.random() < 0.2)
            block = Block(
                index=len(blocks),
                side=side,
                s0=begin,
                s1=end,
                kerb=main.lane_width + (_PARKING if parking else _GUTTER),
                walk=float(rng.uniform(3.4, 4.4)) + (1.0 if verge else 0.0),
                before=before,
                after=after,
                character=character,
                parking=parking,
                verge=verge,
            )
            blocks.append(block)
    if not any(block.parking for block in blocks):
        parked = blocks[len(blocks) // 2]
        blocks[len(blocks) // 2] = replace(parked, parking=True, kerb=main.lane_width + _PARKING)
    return blocks


def _walk(block: Block, main: Road) -> Walk:
    """Along the free half of the sidewalk; lamps and trees stand in the other, beside the kerb."""
    aside = (block.walk + (2.0 if block.verge else 1.0)) / 2
    outline = block_outline(block, aside, (CROSS_WALK + 0.9) / 2, 0.8, spacing=1.0)
    points = main.place(outline[:, 0], outline[:, 1], KERB_HEIGHT)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    points = points[np.concatenate([[True], steps > 1e-6])]
    distances = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    margin = (block.walk - (2.0 if block.verge else 1.0)) / 2 - 0.3
    return Walk(block.index, block.index, points, distances, margin)


def _cross(rng: np.random.Generator, layout: Layout) -> None:
    """Crossings and stop lines: on all arms with lights, zebras on some arms without, and inside long blocks."""
    for junction in layout.junctions:
        road = layout.roads[junction.road]
        for arm in _SIDES:
            if junction.signalised or rng.random() < 0.35:
                s = junction.s + arm * (junction.half_width + _CROSSING_SETBACK)
                _cross_main(layout, s, junction.index, zebra=not junction.signalised)
            kerb = _kerb_beside(layout, junction, arm)
            s = CROSS_LENGTH + arm * (kerb + _CROSSING_SETBACK)
            marked = junction.signalised or rng.random() < 0.5
            if marked:
                _cross_side(layout, junction, arm, s, zebra=not junction.signalised)
            lane = next(k for k in layout.lanes if k.road == road.index and k.direction == -arm)
            line = s + arm * (CROSSING_WIDTH / 2 + 1.0) if marked else CROSS_LENGTH + arm * (kerb + 1.2)
            crossing = layout.crossings[-1].index if marked else -1
            layout.stop_lines.append(StopLine(lane.index, float(layout.lane_s(lane, line)), junction.index, crossing))
    right = [block for block in layout.blocks if block.side < 0]
    for block in right:
        if block.before >= 0 and block.after >= 0 and block.s1 - block.s0 > 75 and rng.random() < 0.6:
            _cross_main(layout, (block.s0 + block.s1) / 2, -1, zebra=True)
    for place in [c for c in layout.crossings if c.road == 0]:
        for lane in layout.lanes[:2]:
            at = float(layout.lane_s(lane, place.s))
            waits_for = place.junction
            if waits_for >= 0:  # vehicles that leave the junction stop only for people on a zebra
                leaving = at > float(layout.lane_s(lane, layout.junctions[waits_for].s))
                if leaving and not place.zebra:
                    continue
                waits_for = -1 if leaving else waits_for
            layout.stop_lines.append(StopLine(lane.index, at - CROSSING_WIDTH / 2 - 1.0, waits_for, place.index))


def _kerb_beside(layout: Layout, junction: Junction, side: Side) -> float:
    """The larger distance of the main street's two kerbs at a junction on one side."""
    return max(b.kerb for b in layout.blocks if b.side == side and junction.index in (b.before, b.after))


def _cross_main(layout: Layout, s: float, junction: int, zebra: bool) -> None:
    ends = []
    for side in _SIDES:
        block = layout.block_at(s, side)
        if block is None:
            raise ValueError(f"no sidewalk beside the main street at {s:.1f} m")
        aside = (block.walk + (2.0 if block.verge else 1.0)) / 2
        ends.append((side * block.kerb, side * (block.kerb + aside)))
    d = np.array([ends[0][1], ends[0][0], ends[1][0], ends[1][1]])
    _add_crossing(layout, 0, s, layout.main.place(s, d, _HEIGHTS), junction, zebra)


def _cross_side(layout: Layout, junction: Junction, arm: Side, s: float, zebra: bool) -> None:
    kerb, walk = junction.half_width, junction.half_width + (CROSS_WALK + 0.9) / 2
    points = layout.roads[junction.road].place(s, np.array([walk, kerb, -kerb, -walk]), _HEIGHTS)
    _add_crossing(layout, junction.road, s, points, junction.index, zebra)


_HEIGHTS = np.array([KERB_HEIGHT, 0.0, 0.0, KERB_HEIGHT])


def _add_crossing(layout: Layout, road: int, s: float, points: NDArray[np.float64], junction: int, zebra: bool) -> None:
    corners = tuple((float(x), float(y), float(z)) for x, y, z in points)
    layout.crossings.append(Crossing(len(layout.crossings), road, s, CROSSING_WIDTH, junction, zebra, corners))


def _front(layout: Layout, block: Block) -> None:
    """A block's frontages: along the main street, then along the cross streets behind the corner lots."""
    s0 = block.s0 + (CROSS_WALK if block.before >= 0 else 0.0)
    s1 = block.s1 - (CROSS_WALK if block.after >= 0 else 0.0)
    corners = block.before >= 0, block.after >= 0
    layout.frontages.append(Frontage(0, block.side, s0, s1, block.front, block.index, block.character, *corners))
    begin = block.front + (_CORNER_LOT + 5.0 if block.character == "houses" else _CORNER_LOT)
    for junction, left in ((block.before, False), (block.after, True)):
        if junction < 0:
            continue
        # d of a cross street grows against s of the main street
        road, d = layout.roads[junction + 1], layout.junctions[junction].half_width + CROSS_WALK
        s = sorted((CROSS_LENGTH + block.side * begin, CROSS_LENGTH + block.side * (BLOCK_DEPTH + 2.0)))
        character: Character = block.character if block.character in ("houses", "park") else "terrace"
        side: Side = 1 if left else -1
        layout.frontages.append(Frontage(road.index, side, s[0], s[1], d, block.index, character, False, False))


def _park(layout: Layout) -> None:
    """Parking spots wherever a strip is free of corners, crossings and bus stops."""
    for block in layout.blocks:
        if not block.parking:
            continue
        taken = [(c.s - 6.0, c.s + 6.0) for c in layout.crossings if c.road == 0]
        taken += [(b.s - 14.0, b.s + 14.0) for b in layout.bus_stops if b.block == block.index]
        d = block.side * (layout.main.lane_width + _PARKING / 2)
        _park_row(layout, 0, block.side, d, block.s0 + 8.0, block.s1 - 8.0, taken)
    for junction in layout.junctions:
        road = layout.roads[junction.road]
        if junction.half_width < road.lane_width + _PARKING:
            continue
        taken = [(c.s - 6.0, c.s + 6.0) for c in layout.crossings if c.road == road.index]
        taken.append((CROSS_LENGTH - 20.0, CROSS_LENGTH + 20.0))
        for side in _SIDES:
            _park_row(layout, road.index, side, side * (road.lane_width + _PARKING / 2), 8.0, 152.0, taken)


def _park_row(
    layout: Layout, road: int, side: Side, d: float, begin: float, end: float, taken: list[tuple[float, float]]
) -> None:
    s = begin
    while s + 5.8 <= end:
        blocked = [last for first, last in taken if first < s + 5.8 and s < last]
        if blocked:
            s = max(blocked)
            continue
        layout.spots.append(ParkingSpot(len(layout.spots), road, side, s + 2.9, d))
        s += 5.8
