"""What lies on the ground: carriageways, kerbs, sidewalks, verges and the ground of blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.facets import Facets, jitter, srgb
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.noise import smooth_noise
from panoptic_training.synthetic.outline import block_outline
from panoptic_training.synthetic.street import (
    CORNER_RADIUS,
    CROSS_LENGTH,
    CROSS_WALK,
    CROSSING_WIDTH,
    KERB_HEIGHT,
    KERB_WIDTH,
    Block,
    Layout,
    Road,
)

ROAD, SIDEWALK, TERRAIN = 7, 8, 22

ROAD_HALF = 7.0  # of the main street's asphalt, which runs on below the sidewalks
VERGE_END = 1.35  # metres from the kerb to where a verge's grass ends
_DROP = 0.1  # how far kerbs are lowered at crossings


def build_ground(layout: Layout, rng: np.random.Generator) -> Mesh:
    """Roads, sidewalks and the ground between them."""
    facets = Facets()
    asphalt = np.full(3, rng.uniform(0.07, 0.13)) * [1.0, 1.0, 1.04]
    main = layout.main
    _sheet(facets, main, main.curve.start - 12, main.curve.end + 12, -ROAD_HALF, ROAD_HALF, asphalt)
    for junction in layout.junctions:
        road, half = layout.roads[junction.road], junction.half_width + 1.0
        _sheet(facets, road, -12.0, CROSS_LENGTH - ROAD_HALF, -half, half, asphalt)
        _sheet(facets, road, CROSS_LENGTH + ROAD_HALF, 2 * CROSS_LENGTH + 12, -half, half, asphalt)
    paving = srgb(*rng.choice([[130, 127, 122], [118, 116, 115], [140, 134, 124], [126, 119, 111]]))
    kerb = srgb(158, 156, 150) * rng.uniform(0.8, 1.1)
    grass = srgb(*rng.choice([[88, 104, 52], [104, 112, 60], [76, 98, 48]]))
    for block in layout.blocks:
        _sidewalk(facets, layout, block, rng, paving, kerb, grass)
        _interior(facets, layout, block, rng, grass, paving)
    _closings(facets, layout, paving, kerb)
    _ironware(facets, layout, rng, asphalt)
    return facets.mesh()


def _sheet(facets: Facets, road: Road, s0: float, s1: float, d0: float, d1: float, color: NDArray[np.float64]) -> None:
    """A level surface between street coordinates, which are its texture's too."""
    s = np.linspace(s0, s1, max(int(np.ceil(s1 - s0)), 2))
    grid = np.stack(np.meshgrid(s, np.linspace(d0, d1, 5), indexing="ij"), axis=-1)
    _grid(facets, road.place(grid[..., 0], grid[..., 1]), grid, ROAD, Material.ASPHALT, color)


def _grid(
    facets: Facets,
    points: NDArray[np.float64],
    uvs: NDArray[np.float64],
    class_id: int,
    material: Material,
    color: NDArray[np.float64],
    kept: NDArray[np.bool_] | None = None,
) -> None:
    """Quads between (R, C, 3) points that face along rows x columns; `color` (3,) or (R - 1, C - 1, 3)."""

    def cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = np.stack([values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]], axis=2)
        return corners.reshape(-1, 4, values.shape[-1])

    colors = np.broadcast_to(color, (points.shape[0] - 1, points.shape[1] - 1, 3)).reshape(-1, 3)
    chosen = slice(None) if kept is None else kept.reshape(-1)
    facets.quads(cells(points)[chosen], class_id, material, colors[chosen], cells(uvs)[chosen])


def _lowered(layout: Layout, block: Block, outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) 0 to 1: how far the kerb is lowered at places of a block's outline, for the crossings that reach it."""
    lowered = np.zeros(len(outline))
    for crossing in layout.crossings:
        if crossing.road == 0:
            distance = np.abs(outline[:, 0] - crossing.s) + 100.0 * (np.abs(outline[:, 1]) > block.kerb + CORNER_RADIUS)
        else:
            junction = layout.junctions[crossing.junction]
            distance = np.abs(outline[:, 1] - (crossing.s - CROSS_LENGTH)) + 100.0 * (
                np.abs(outline[:, 0] - junction.s) > junction.half_width + 1.5
            )
        lowered = np.maximum(lowered, np.clip((CROSSING_WIDTH / 2 + 0.9 - distance) / 0.8, 0.0, 1.0))
    return lowered


def _sidewalk(
    facets: Facets,
    layout: Layout,
    block: Block,
    rng: np.random.Generator,
    paving: NDArray[np.float64],
    kerb: NDArray[np.float64],
    grass: NDArray[np.float64],
) -> None:
    """Rows of quads between lines round the block: kerb face, kerb stone, ramp or verge, paving."""
    middle = VERGE_END if block.verge else 1.1
    lines = [
        block_outline(block, along, across, radius)
        for along, across, radius in (
            (0.0, 0.0, CORNER_RADIUS),
            (0.015, 0.015, CORNER_RADIUS - 0.015),
            (KERB_WIDTH, KERB_WIDTH, CORNER_RADIUS - KERB_WIDTH),
            (middle, middle, CORNER_RADIUS - middle),
            (block.walk, CROSS_WALK, 0.0),
        )
    ]
    lowered = _lowered(layout, block, lines[0])
    top = KERB_HEIGHT - _DROP * lowered
    heights = [np.full(len(top), -0.05), top, top, np.full(len(top), KERB_HEIGHT), np.full(len(top), KERB_HEIGHT)]
    points = np.stack([layout.main.place(line[:, 0], line[:, 1], z) for line, z in zip(lines, heights, strict=True)])
    grid = np.stack(lines)
    if block.side < 0:  # the lines run along +s and go inwards: quads face up on the left side, so turn them round
        points, grid, lowered = points[:, ::-1], grid[:, ::-1], lowered[::-1]
    points, grid = points.swapaxes(0, 1), grid.swapaxes(0, 1)
    rows = len(points) - 1
    stones = jitter(rng, kerb, rows, 0.06)[:, None]
    face_uvs = grid[:, :2] + np.stack([np.zeros((rows + 1, 2)), np.tile([0.0, KERB_HEIGHT], (rows + 1, 1))], axis=1)
    _grid(facets, points[:, :2], face_uvs, SIDEWALK, Material.CONCRETE, stones)
    _grid(facets, points[:, 1:3], grid[:, 1:3], SIDEWALK, Material.CONCRETE, stones)
    on_main = np.abs(grid[:, 0, 1]) < block.kerb + 1e-6
    green = block.verge & on_main & (lowered == 0)
    for stop in layout.bus_stops:
        if stop.block == block.index:
            green &= np.abs(grid[:, 0, 0] - stop.s) > 8.0
    green = (green[:-1] & green[1:])[:, None]
    tactile = (np.minimum(lowered[:-1], lowered[1:]) >= 1.0)[:, None, None]
    shades = np.where(tactile, srgb(196, 178, 140), paving)
    _grid(facets, points[:, 2:4], grid[:, 2:4], TERRAIN, Material.GRASS, grass, green)
    _grid(facets, points[:, 2:4], grid[:, 2:4], SIDEWALK, Material.PAVING, shades, ~green)
    _grid(facets, points[:, 3:], grid[:, 3:], SIDEWALK, Material.PAVING, paving)


def _interior(
    facets: Facets,
    layout: Layout,
    block: Block,
    rng: np.random.Generator,
    grass: NDArray[np.float64],
    paving: NDArray[np.float64],
) -> None:
    """The ground behind the sidewalks, a little lower than them; parks roll gently."""
    inset = CROSS_WALK - 0.3
    s0 = block.s0 + (inset if block.before >= 0 else -12.0)
    s1 = block.s1 - (inset if block.after >= 0 else -12.0)
    s = np.linspace(s0, s1, max(int((s1 - s0) / 1.5), 2))
    d = np.concatenate([np.linspace(block.front - 0.3, block.front + 12, 9), np.linspace(block.front + 15, 83.0, 20)])
    grid = np.stack(np.meshgrid(s, d, indexing="ij"), axis=-1)
    inside = np.minimum(np.minimum(grid[..., 0] - s0, s1 - grid[..., 0]), grid[..., 1] - d[0]) / 10.0
    z = KERB_HEIGHT - 0.02 + np.zeros(grid.shape[:2])
    if block.character == "park":
        ramp = np.clip(inside - 0.25, 0.0, 1.0) ** 2
        z += ramp * 1.3 * np.abs(smooth_noise(grid, 17.0, int(rng.integers(1 << 30))))
    grid[..., 1] *= block.side
    if block.side < 0:
        grid, z = grid[:, ::-1], z[:, ::-1]
    points = layout.main.place(grid[..., 0], grid[..., 1], z)
    patches = smooth_noise(grid[:-1, :-1], 14.0, int(rng.integers(1 << 30)))[..., None]
    cells = np.abs(grid[:-1, :-1, 1])
    beside = np.minimum(grid[:-1, :-1, 0] - s0, s1 - grid[:-1, :-1, 0]) < 3.0
    paved = ((cells < block.front + 3.5) | beside) & (block.character not in ("park", "houses"))  # up to the houses
    _grid(facets, points, grid, SIDEWALK, Material.PAVING, paving, paved)
    _grid(facets, points, grid, TERRAIN, Material.GRASS, grass * (1 + 0.08 * patches), ~paved)


def _closings(facets: Facets, layout: Layout, paving: NDArray[np.float64], kerb: NDArray[np.float64]) -> None:
    """Sidewalk and kerb across the ends of all streets, where they meet another street's houses."""
    for road in layout.roads:
        for s, turn in ((road.curve.start, np.pi), (road.curve.end, 0.0)):
            pose = road.pose(s, 0.0, turn=turn)
            outline = np.array([[9.0, -40.0], [25.0, -40.0], [25.0, 40.0], [9.0, 40.0]])
            top = outline @ pose[:2, :2].T + pose[:2, 3]
            z = KERB_HEIGHT - 0.005
            facets.quads(np.c_[top, np.full(4, z)], SIDEWALK, Material.PAVING, paving)
            low, high = np.c_[top[[3, 0]], [-0.05, -0.05]], np.c_[top[[0, 3]], [z, z]]
            facets.quads(np.concatenate([low, high]), SIDEWALK, Material.CONCRETE, kerb)
            strip = np.array([[-1.0, -40.0], [10.0, -40.0], [10.0, 40.0], [-1.0, 40.0]])
            facets.quads(
                np.c_[strip @ pose[:2, :2].T + pose[:2, 3], np.full(4, -0.01)], ROAD, Material.ASPHALT, srgb(88, 88, 90)
            )


def _ironware(facets: Facets, layout: Layout, rng: np.random.Generator, asphalt: NDArray[np.float64]) -> None:
    """Manhole covers, gullies at the kerbs, and patches where the road was opened."""
    main = layout.main
    iron = srgb(72, 70, 68)
    up = (0.0, 0.0, 1.0)
    for s in np.arange(main.curve.start + 10, main.curve.end - 10, 23.0) + rng.uniform(0, 12):
        aside = float(rng.choice([-1, 1]) * rng.uniform(0.5, main.lane_width - 0.6))
        place = main.place(s + rng.uniform(-8, 8), aside, 0.003)
        facets.disc(place, up, 0.34, ROAD, Material.METAL, iron, sides=20)
        facets.disc(place, up, 0.42, ROAD, Material.ASPHALT, asphalt * 0.75, sides=20, inner=0.34)
    for block in layout.blocks:
        for s in np.arange(block.s0 + 8, block.s1 - 8, 22.0):
            edge = np.array([[-0.25, 0.04], [0.25, 0.04], [0.25, 0.36], [-0.25, 0.36]])
            d = block.side * (block.kerb - edge[:, 1])
            corners = main.place(s + edge[:, 0], d, 0.003)
            facets.quads(corners[::-1] if block.side > 0 else corners, ROAD, Material.METAL, iron * 0.6)
    for _ in range(int(layout.length / 14)):
        length, width = rng.uniform(0.8, 7.0), rng.uniform(0.5, 1.6)
        along = rng.uniform(main.curve.start, main.curve.end - 8) + np.linspace(0, length, 6)
        d0 = rng.uniform(-main.lane_width, main.lane_width - width)
        grid = np.stack(np.meshgrid(along, [d0, d0 + width], indexing="ij"), axis=-1)
        shade = asphalt * rng.choice([0.72, 0.85, 1.2])
        _grid(facets, main.place(grid[..., 0], grid[..., 1], 0.002), grid, ROAD, Material.ASPHALT, shade)
