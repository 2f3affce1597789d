"""What stands on sidewalks: lamps, traffic lights, signs, bus shelters, bollards and railings at corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.barriers import railing
from panoptic_training.synthetic.facades import Frame
from panoptic_training.synthetic.facets import UP, Facets, srgb
from panoptic_training.synthetic.lots import arm_places, keep_clear
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.signals import KERBSIDE, LightHead, light_heads
from panoptic_training.synthetic.signs import (
    POLE,
    SignKind,
    light_head,
    sign_face,
    sign_post,
    street_name,
)
from panoptic_training.synthetic.street import (
    CROSS_LENGTH,
    KERB_HEIGHT,
    Block,
    BusStop,
    Junction,
    Layout,
    Road,
)


def build_furniture(layout: Layout, rng: np.random.Generator) -> Mesh:
    """Everything but the lamps of traffic lights, which change: see `signals`."""
    facets = Facets()
    steel = srgb(*rng.choice([[96, 102, 104], [60, 66, 64], [140, 144, 146]]))
    old = bool(rng.random() < 0.35)
    for block in layout.blocks:
        _lamps(facets, layout, block, steel, old)
        _signs(facets, layout, block, rng)
    for junction in layout.junctions:
        road = layout.roads[junction.road]
        for s, d in arm_places(layout, road, 24.0, 0.5):
            _lamp(facets, road, s, d, steel, old)
        _corners(facets, layout, junction, rng)
    for head in light_heads(layout):
        _light(facets, layout, head, steel)
    for stop in layout.bus_stops:
        _shelter(facets, layout, stop, rng)
    return facets.mesh()


def _lamps(facets: Facets, layout: Layout, block: Block, steel: NDArray[np.float64], old: bool) -> None:
    """Every 26 m, those of the two sides between each other."""
    taken = keep_clear(layout, block)
    begin = block.s0 + (9.5 if block.side > 0 else 16.0)
    for s in np.arange(begin, block.s1 - 8.0, 17.0 if old else 26.0):
        at = s + (4.5 if any(a < s < b for a, b in taken) else 0.0) + 0.9
        _lamp(facets, layout.main, at, block.side * (block.kerb + KERBSIDE), steel, old)


def _lamp(facets: Facets, road: Road, s: float, d: float, steel: NDArray[np.float64], old: bool) -> None:
    """A tall mast whose arm reaches over the road, or a lantern on a cast-iron post."""
    foot = road.place(s, d, KERB_HEIGHT)
    inward = -np.sign(d) * road.pose(s, 0.0)[:3, 1]
    facets.bars(foot - 0.1 * UP, foot + 0.9 * UP, 0.1, POLE, Material.METAL, steel, sides=8, end_radii=0.09)
    if old:
        facets.bars(foot + 0.9 * UP, foot + 3.5 * UP, 0.06, POLE, Material.METAL, steel, sides=8, end_radii=0.04)
        top = foot + 3.5 * UP
        facets.bars(top, top + 0.45 * UP, 0.11, POLE, Material.GLASS, srgb(210, 206, 190), sides=6, end_radii=0.19)
        facets.bars(top + 0.45 * UP, top + 0.62 * UP, 0.22, POLE, Material.METAL, steel, sides=6, end_radii=0.04)
        facets.bars(foot + 3.2 * UP - 0.3 * inward, foot + 3.2 * UP + 0.3 * inward, 0.018, POLE, Material.METAL, steel)
        return
    knee = foot + 7.2 * UP
    facets.bars(foot + 0.9 * UP, knee, 0.075, POLE, Material.METAL, steel, sides=8, end_radii=0.05)
    bend = np.array([[0.0, 0.0], [0.12, 0.35], [0.5, 0.6], [1.5, 0.75]])
    points = knee + bend[:, :1] * inward + bend[:, 1:] * UP
    facets.bars(points[:-1], points[1:], 0.045, POLE, Material.METAL, steel, sides=6)
    along = np.cross(inward, UP)
    facets.boxes(
        points[-1] + 0.3 * inward, [0.75, 0.26, 0.11], POLE, Material.METAL, steel * 1.1, np.stack([inward, -along, UP])
    )
    facets.boxes(
        points[-1] + 0.33 * inward - 0.06 * UP, [0.5, 0.2, 0.02], POLE, Material.GLASS, srgb(220, 218, 205),
        np.stack([inward, -along, UP]),
    )  # fmt: skip


def _light(facets: Facets, layout: Layout, head: LightHead, steel: NDArray[np.float64]) -> None:
    back = head.center - 0.1 * head.normal
    light_head(facets, head.center, head.normal, board=head.high)
    if not head.high:
        foot = np.array([*back[:2], KERB_HEIGHT]) - 0.07 * head.normal
        facets.bars(foot - 0.1 * UP, foot + 3.4 * UP, 0.06, POLE, Material.METAL, steel, sides=8)
        return
    road = layout.main
    s, d = (float(v[0]) for v in road.curve.project(back[None, :2]))
    side = int(np.sign(d))
    foot = road.place(s, side * (layout.kerb_at(road, s, side) + KERBSIDE), KERB_HEIGHT) - 0.1 * head.normal
    top = np.array([*foot[:2], back[2] + 0.2])
    reach = np.array([*back[:2], top[2]]) - 0.1 * head.normal
    facets.bars(foot - 0.1 * UP, top + 0.3 * UP, 0.11, POLE, Material.METAL, steel, sides=10, end_radii=0.08)
    facets.bars(top, reach + 0.3 * (reach - top) / np.linalg.norm(reach - top), 0.06, POLE, Material.METAL, steel)
    facets.bars(reach, reach + 0.15 * head.normal, 0.03, POLE, Material.METAL, steel)


def _signs(facets: Facets, layout: Layout, block: Block, rng: np.random.Generator) -> None:
    """For the traffic of the block's own side: speed limits, warnings, parking, crossings."""
    main = layout.main
    direction = -block.side
    taken = keep_clear(layout, block)
    kinds: list[list[SignKind]] = [
        ["speed"],
        ["warning"],
        ["parking"],
        ["no stopping"],
        ["warning", "speed"],
        ["priority"],
    ]
    if not block.parking:
        kinds.remove(["parking"])
    text = str(rng.choice(["30", "50", "40", "20"]))
    for s in np.arange(block.s0 + 14.0, block.s1 - 12.0, 30.0) + rng.uniform(0, 8):
        if any(a < s < b for a, b in taken):
            continue
        chosen = kinds[int(rng.integers(len(kinds)))]
        toward = -direction * main.pose(float(s), 0.0)[:3, 0]
        foot = main.place(s, block.side * (block.kerb + 0.45), KERB_HEIGHT)
        sign_post(facets, foot, toward, chosen, text)
    for crossing in layout.crossings:
        if crossing.road == 0 and crossing.zebra and block.s0 < crossing.s < block.s1:
            s = crossing.s - direction * (crossing.width / 2 + 0.5)
            toward = -direction * main.pose(s, 0.0)[:3, 0]
            sign_post(facets, main.place(s, block.side * (block.kerb + 0.45), KERB_HEIGHT), toward, ["crossing"])


def _corners(facets: Facets, layout: Layout, junction: Junction, rng: np.random.Generator) -> None:
    """Who gives way, what the streets are called, and railings or bollards that keep people at the crossing."""
    main, road = layout.main, layout.roads[junction.road]
    forward, left = main.pose(junction.s, 0.0)[:3, 0], main.pose(junction.s, 0.0)[:3, 1]
    kind: SignKind = "stop" if rng.random() < 0.4 else "yield"
    barrier = str(rng.choice(["railing", "bollards", "none"])) if junction.index else "railing"
    for arm in (1, -1):
        if not junction.signalised:
            kerb = max(layout.kerb_at(main, junction.s + e * (junction.half_width + 1), arm) for e in (-1, 1))
            s, side = CROSS_LENGTH + arm * (kerb + 2.6), 1 if arm > 0 else -1
            # traffic towards the junction keeps to its right: the arm's outer side as seen along the cross street
            sign_post(facets, road.place(s, side * (junction.half_width + 0.5), KERB_HEIGHT), arm * left, [kind])
        for end in (-1, 1):
            s = junction.s + end * (junction.half_width + 2.3)
            kerb = layout.kerb_at(main, s, arm)
            if arm == end and rng.random() < 0.8:
                street_name(facets, main.place(s, arm * (kerb + 2.3), KERB_HEIGHT), [forward, left])
            start = junction.s + end * (junction.half_width + 7.4)
            places = start + end * np.arange(0.0, 6.1, 1.5)
            points = main.place(places, arm * (kerb + 0.3), KERB_HEIGHT)
            if barrier == "bollards":
                iron = srgb(52, 54, 56)
                facets.bars(points, points + 0.9 * UP, 0.07, POLE, Material.METAL, iron, sides=8, end_radii=0.055)
                facets.bars(
                    points + 0.7 * UP,
                    points + 0.78 * UP,
                    0.066,
                    POLE,
                    Material.SIGN,
                    srgb(225, 225, 220),
                    sides=8,
                )
            elif barrier == "railing":
                ends = points[[0, -1]] if arm * end > 0 else points[[-1, 0]]
                railing(facets, Frame.between(ends[0], ends[1]), 1.0, srgb(110, 114, 116))


def _shelter(facets: Facets, layout: Layout, stop: BusStop, rng: np.random.Generator) -> None:
    """Glass under a roof, a bench, and the sign of the stop; Cityscapes counts shelters among buildings."""
    main = layout.main
    block = layout.blocks[stop.block]
    depth, width = 1.25, 3.8
    back = block.kerb + block.walk - 0.35
    ends = main.place([stop.s - width / 2, stop.s + width / 2], stop.side * back, KERB_HEIGHT)
    frame = Frame.between(*(ends if stop.side > 0 else ends[::-1]))
    steel, glass = srgb(64, 68, 72), srgb(120, 136, 140)
    posts = np.array([0.0, frame.width - 0.07])
    for out in (0.0, depth):
        frame.boxes(facets, posts, posts + 0.07, -0.1, 2.35, out - 0.07, out, Material.METAL, steel)
    frame.boxes(facets, -0.1, frame.width + 0.1, 2.35, 2.45, -0.15, depth + 0.25, Material.METAL, steel)
    frame.boxes(facets, 0.07, frame.width - 0.07, 0.25, 2.1, -0.05, -0.03, Material.GLASS, glass)
    poster = srgb(*rng.choice([[190, 60, 50], [60, 110, 170], [220, 190, 80], [90, 150, 90]]))
    frame.boxes(facets, 0.0, 0.07, 0.25, 2.1, 0.0, depth - 0.07, Material.PLASTIC, poster)
    frame.boxes(facets, 0.5, frame.width - 0.8, 0.42, 0.48, 0.05, 0.42, Material.WOOD, srgb(134, 100, 66))
    legs = np.array([0.7, frame.width - 1.1])
    frame.boxes(facets, legs, legs + 0.08, -0.05, 0.42, 0.15, 0.3, Material.METAL, steel)
    direction = -stop.side
    s = stop.s + direction * 3.0
    foot = main.place(s, stop.side * (block.kerb + 0.5), KERB_HEIGHT)
    facets.bars(foot - 0.1 * UP, foot + 2.9 * UP, 0.035, POLE, Material.METAL, steel, sides=8)
    forward = direction * main.pose(s, 0.0)[:3, 0]
    for toward in (forward, -forward):
        sign_face(facets, foot + 2.6 * UP + 0.055 * toward, toward, "bus")
