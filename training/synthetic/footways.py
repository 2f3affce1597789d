"""People on foot: who walks along the sidewalks, who crosses, and who stands about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.agents import Agent, Crosser, Maker, Plan
from panoptic_training.synthetic.motion import (
    Follower,
    Path,
    Thing,
    Track,
    Waiting,
    mesh_size,
    walker_shape,
    walker_size,
)
from panoptic_training.synthetic.people import PERSON, Figure, random_figure
from panoptic_training.synthetic.skeleton import standing
from panoptic_training.synthetic.street import KERB_HEIGHT, Crossing, Layout, Walk, planar_pose

Array = NDArray[np.float64]
Size = tuple[float, float, float]


class Crowd:
    """Those whom one meets: a town's worth of people, each of whom may be met more than once."""

    def __init__(self, rng: np.random.Generator, count: int = 150) -> None:
        self._people: list[tuple[Figure, Size] | None] = [None] * count
        self._seed = int(rng.integers(1 << 31))

    def somebody(self, rng: np.random.Generator) -> tuple[Figure, Size]:
        """A person, and the box that walking takes."""
        index = int(rng.integers(len(self._people)))
        person = self._people[index]
        if person is None:
            figure = random_figure(np.random.default_rng([self._seed, index]))
            person = self._people[index] = figure, walker_size(figure)
        return person


def walkers(
    plan: Plan, layout: Layout, crowd: Crowd, rng: np.random.Generator, duration: float, density: float
) -> None:
    """People who walk along the sidewalks, one behind the other on each of a few tracks."""
    for walk in layout.walks:
        busy = float(rng.choice([0.5, 1.5, 3.0], p=[0.25, 0.5, 0.25])) * density
        for number, (aside, back) in enumerate(_walk_tracks(layout, walk)):
            path = Path(_walk_line(walk, aside, back))
            place = path.length + rng.uniform(0, 10)
            line = 1000 + 10 * walk.index + number
            while place > -0.6 * duration:
                figure, size = crowd.somebody(rng)
                child = figure.build.height < 1.5
                wish = float(np.clip(rng.normal(1.35, 0.15), 1.0, 1.7)) * (0.85 if child else 1.0)
                agent = Agent(line, place, wish, size[0], wish, headway=0.4, gap=0.5, pull=1.0, ease=1.2)
                plan.add(agent, path, _walker_maker(figure, size))
                gap = rng.exponential(16.0) if rng.random() < 0.75 else rng.uniform(0.1, 0.6)
                place -= 1.6 + gap / max(min(busy, 3.0), 0.05)


def _walker_maker(figure: Figure, size: tuple[float, float, float]) -> Maker:
    def make(track: Track, viewer: Track) -> list[Thing]:
        return [Follower(0, PERSON, size, track, walker_shape(figure), viewer)]

    return make


def _kerb_side(layout: Layout, walk: Walk) -> float:
    """1 where the kerb is on a walk's left, -1 on its right."""
    return -float(layout.blocks[walk.block].side)


def _walk_tracks(layout: Layout, walk: Walk) -> list[tuple[float, bool]]:
    """(metres left of the walk, whether against its direction) of the tracks; the strip at the kerb stays free."""
    inner = -_kerb_side(layout, walk)
    return [(inner * (walk.margin - 0.15), False), (inner * (walk.margin - 0.95), True)]


def _walk_line(walk: Walk, aside: float, back: bool) -> Array:
    """(N, 3) points of a line beside a walk's middle."""
    s = np.arange(0.0, walk.length, 0.5)
    points = np.stack([np.interp(s, walk.distances, walk.points[:, axis]) for axis in range(3)], axis=1)
    # corners are rounded, so that lines inside them do not fold
    for _ in range(3):
        points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    line = points + aside * np.stack([-along[:, 1], along[:, 0], 0 * along[:, 0]], axis=1)
    for _ in range(2):
        line[1:-1] = 0.25 * line[:-2] + 0.5 * line[1:-1] + 0.25 * line[2:]
    return line[::-1] if back else line


def crossers(
    layout: Layout, crowd: Crowd, rng: np.random.Generator, duration: float, density: float
) -> list[tuple[Crosser, Path, Figure, Size]]:
    """People who wait at crossings and cross."""
    made: list[tuple[Crosser, Path, Figure, Size]] = []
    for crossing in layout.crossings:
        slots = np.arange(-crossing.width / 2 + 0.45, crossing.width / 2 - 0.3, 0.78)
        wanted = rng.random(len(slots)) < min(0.55 * density, 1.0)
        for slot in slots[wanted]:
            figure, size = crowd.somebody(rng)
            back = bool(rng.random() < 0.5)
            path, kerbs = _crossing_path(layout, crossing, float(slot), back)
            wish = float(np.clip(rng.normal(1.4, 0.12), 1.15, 1.7))
            ready = float(rng.uniform(0.0, 0.8 * duration))
            made.append((Crosser(crossing, back, kerbs, path.length, wish, ready), path, figure, size))
    return made


def _crossing_path(layout: Layout, crossing: Crossing, slot: float, back: bool) -> tuple[Path, tuple[float, float]]:
    """A line across a road, `slot` metres beside the crossing's middle, and where the roadway begins and ends on it."""
    near, far = (np.array(crossing.points[i]) for i in ((2, 1) if back else (1, 2)))
    way = (far - near) / np.linalg.norm(far - near)
    left = np.array([-way[1], way[0], 0.0])
    width = float(np.linalg.norm(far - near))
    along = np.array([-0.62, -0.1, 0.2, 1.0, width - 1.0, width - 0.2, width + 0.1, width + 0.75])
    points = near + along[:, None] * way + slot * left
    points[:, 2] = [KERB_HEIGHT, KERB_HEIGHT, 0, 0, 0, 0, KERB_HEIGHT, KERB_HEIGHT]
    return Path(points), (0.62, 0.62 + width)


def bystanders(layout: Layout, crowd: Crowd, rng: np.random.Generator, density: float) -> list[Thing]:
    """People who wait at the kerb: a few along the way, many at some corners and at bus stops."""
    bodies: list[Thing] = []
    for walk in layout.walks:
        side = _kerb_side(layout, walk)
        # the strip beside the tracks, 0.35 m inside the walk's free width
        rows = np.arange(walk.margin - 0.2, -walk.margin + 1.6, -0.62) * side
        spots = list(np.arange(3.0, walk.length - 3.0, 0.66))
        chance = np.full(len(spots), 0.02 * density)
        for _ in range(int(rng.poisson(1.3 * density))):
            middle, reach = rng.uniform(0, walk.length), rng.uniform(2.0, 7.0)
            chance[np.abs(np.array(spots) - middle) < reach] = min(0.75 * density, 0.9)
        for s, likely in zip(spots, chance, strict=True):
            for row in rows:
                if rng.random() > likely:
                    continue
                figure, _ = crowd.somebody(rng)
                kind = int(rng.integers(4))
                pose = walk.pose(float(s), float(row))
                turn = planar_pose(np.zeros(3), float(rng.uniform(-np.pi, np.pi)))
                begin = float(rng.uniform(0, 20))
                size = mesh_size(figure.posed(standing(figure.build, kind, begin)))
                size = (size[0] + 0.03, size[1] + 0.03, size[2] + 0.01)  # they sway
                bodies.append(Waiting(0, PERSON, size, pose @ turn, figure, kind, begin))
    return bodies
