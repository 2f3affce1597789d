"""Traffic lights: where they hang, and their lamps, which show at each time what vehicles obey."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.facets import Facets
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.motion import mesh_size
from panoptic_training.synthetic.signs import LAMP_COLORS, LAMP_RADIUS, TRAFFIC_LIGHT, lenses
from panoptic_training.synthetic.street import CROSSING_WIDTH, KERB_HEIGHT, Junction, Layout, Light

KERBSIDE = 0.5  # metres from the kerb to the line of posts
_SIDES = 16  # triangles of a lens
_LIT = {Light.RED: ("red",), Light.RED_AMBER: ("red", "amber"), Light.AMBER: ("amber",), Light.GREEN: ("green",)}


@dataclass(frozen=True, slots=True, eq=False)
class LightHead:
    """One traffic light: where its middle is, where it looks (both (3,)), and for whom it shines."""

    center: NDArray[np.float64]
    normal: NDArray[np.float64]
    junction: int
    road: int
    high: bool  # it hangs above the lane


def light_heads(layout: Layout) -> list[LightHead]:
    """All heads: beside each stop line, and for the main street above the lane behind the junction too."""
    heads = []
    for stop in layout.stop_lines:
        if stop.junction < 0 or not layout.junctions[stop.junction].signalised:
            continue
        lane = layout.lanes[stop.lane]
        road, direction = layout.roads[lane.road], lane.direction
        s = float(layout.road_s(lane, stop.s)) + direction * 0.4
        d = -direction * (layout.kerb_at(road, s, -direction) + KERBSIDE)
        toward = -direction * road.pose(s, 0.0)[:3, 0]
        heads.append(LightHead(road.place(s, d, KERB_HEIGHT + 2.75), toward, stop.junction, road.index, False))
        if road.index == 0:
            junction = layout.junctions[stop.junction]
            far = junction.s + direction * (junction.half_width + 2.2 + CROSSING_WIDTH + 3.0)
            over = lane.offset - direction * 0.6
            heads.append(LightHead(road.place(far, over, 5.6), toward, stop.junction, 0, True))
    return heads


@dataclass(frozen=True, eq=False)
class SignalLamps:
    """The lamps of all heads of one junction: a body that stands still and belongs to stuff.

    Only colours and materials change with time; what is the same at two times is the same object.

    Attributes
    ----------
    layout, junction:
        Whose lights they are.
    place:
        (4, 4) from the junction's middle on the ground to the world.
    shape:
        All lamps dark, in that frame.
    roads, names:
        Of each triangle: for whom it shines, and which of ``red``, ``amber`` and ``green`` it is.
    """

    layout: Layout
    junction: Junction
    place: NDArray[np.float64]
    shape: Mesh
    roads: NDArray[np.int64]
    names: NDArray[np.str_]
    _shown: dict[tuple[Light | None, Light | None], Mesh] = field(default_factory=dict)

    instance = 0
    class_id = TRAFFIC_LIGHT

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height in metres of the box around all the junction's lamps."""
        return mesh_size(self.shape)

    def pose(self, time: float) -> NDArray[np.float64]:
        """(4, 4) to the world."""
        return self.place

    def velocity(self, time: float) -> NDArray[np.float64]:
        """(3,) zeros."""
        return np.zeros(3)

    def mesh(self, time: float) -> Mesh:
        """Its triangles with the colours of a time."""
        roads = (0, self.junction.road)
        main, cross = (self.layout.light(self.junction, road, time) for road in roads)
        if (main, cross) not in self._shown:
            materials, colors = self.shape.materials.copy(), self.shape.colors.copy()
            for road, light in zip(roads, (main, cross), strict=True):
                for name in _LIT[light] if light is not None else ():
                    lit = (self.roads == road) & (self.names == name)
                    materials[lit], colors[lit] = Material.LIGHT, LAMP_COLORS[name]
            shape = self.shape
            self._shown[main, cross] = Mesh(shape.vertices, shape.faces, shape.classes, materials, colors, shape.uvs)
        return self._shown[main, cross]


def signal_lamps(layout: Layout) -> list[SignalLamps]:
    """The lamps of all junctions that have lights, one body each."""
    found = []
    heads = sorted(light_heads(layout), key=lambda head: head.junction)
    for index, group in groupby(heads, key=lambda head: head.junction):
        junction = layout.junctions[index]
        place = layout.main.pose(junction.s, 0.0)
        facets, roads, names = Facets(), [], []
        for head in group:
            for name, middle in lenses(head.center, head.normal).items():
                dark = np.array(LAMP_COLORS[name]) * 0.06 + 0.01
                in_front = middle + 0.003 * head.normal / np.linalg.norm(head.normal)
                facets.disc(in_front, head.normal, LAMP_RADIUS, TRAFFIC_LIGHT, Material.PLASTIC, dark, _SIDES)
                roads.append(head.road)
                names.append(name)
        shape = facets.mesh().moved(np.linalg.inv(place))
        per_triangle = np.repeat(roads, _SIDES), np.repeat(names, _SIDES)
        found.append(SignalLamps(layout, junction, place, shape, *per_triangle))
    return found
