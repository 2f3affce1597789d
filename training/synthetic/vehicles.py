"""Cars: their shapes and their colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.car_details import doors, nose, rails, tail, windows
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.shells import BLACK_PLASTIC, BRAKE_GLOW, COARSE, TAIL, TAIL_GLOW, Shell, wheel
from panoptic_training.synthetic.solids import Color, at, mirrored, of_class, pair, rounded_box

CAR = 26

# Shares of colours among new cars, after BASF's and Axalta's yearly reports of 2019 to 2023 for Europe; linear albedo.
PAINTS: tuple[tuple[float, Color], ...] = (
    (0.27, (0.78, 0.78, 0.77)),
    (0.18, (0.012, 0.012, 0.013)),
    (0.15, (0.10, 0.105, 0.11)),
    (0.09, (0.22, 0.225, 0.23)),
    (0.10, (0.42, 0.43, 0.44)),
    (0.05, (0.012, 0.035, 0.13)),
    (0.035, (0.03, 0.11, 0.30)),
    (0.055, (0.32, 0.012, 0.015)),
    (0.02, (0.12, 0.01, 0.018)),
    (0.02, (0.10, 0.065, 0.035)),
    (0.015, (0.015, 0.07, 0.04)),
    (0.01, (0.55, 0.20, 0.02)),
    (0.01, (0.62, 0.45, 0.03)),
)

# Fractions from the front and from the ground, read from side views as one draws them.
STYLES: dict[str, Shell] = {
    "hatchback": Shell(
        4.05, 1.77, 1.46,
        top=((0.0, 0.36), (0.006, 0.44), (0.02, 0.5), (0.05, 0.545), (0.13, 0.6), (0.255, 0.655), (0.3, 0.73),
             (0.42, 0.945), (0.47, 0.985), (0.57, 1.0), (0.7, 0.985), (0.82, 0.945), (0.885, 0.9), (0.95, 0.69),
             (0.975, 0.62), (0.992, 0.52), (1.0, 0.36)),
        bottom=((0.0, 0.36), (0.005, 0.27), (0.015, 0.18), (0.05, 0.13), (0.12, 0.12), (0.9, 0.13), (0.96, 0.16),
                (0.985, 0.2), (0.994, 0.28), (1.0, 0.36)),
        belt=((0.0, 0.5), (0.25, 0.64), (0.6, 0.67), (0.88, 0.71), (0.96, 0.66), (1.0, 0.5)),
        axles=(0.2, 0.83), wheel_radius=0.315,
    ),
    "sedan": Shell(
        4.72, 1.83, 1.44,
        top=((0.0, 0.36), (0.005, 0.45), (0.018, 0.51), (0.045, 0.55), (0.14, 0.61), (0.275, 0.655), (0.31, 0.72),
             (0.415, 0.94), (0.46, 0.98), (0.54, 1.0), (0.65, 0.975), (0.73, 0.91), (0.845, 0.735), (0.875, 0.715),
             (0.965, 0.69), (0.982, 0.63), (0.994, 0.52), (1.0, 0.38)),
        bottom=((0.0, 0.36), (0.004, 0.27), (0.013, 0.18), (0.045, 0.13), (0.12, 0.12), (0.9, 0.13), (0.96, 0.16),
                (0.985, 0.21), (0.995, 0.29), (1.0, 0.38)),
        belt=((0.0, 0.5), (0.27, 0.645), (0.6, 0.665), (0.82, 0.69), (0.96, 0.66), (1.0, 0.5)),
        axles=(0.19, 0.785), wheel_radius=0.33,
    ),
    "estate": Shell(
        4.68, 1.82, 1.47,
        top=((0.0, 0.36), (0.005, 0.45), (0.018, 0.505), (0.045, 0.545), (0.14, 0.6), (0.265, 0.65), (0.3, 0.72),
             (0.4, 0.94), (0.45, 0.98), (0.54, 1.0), (0.7, 0.99), (0.83, 0.965), (0.905, 0.925), (0.955, 0.72),
             (0.977, 0.63), (0.992, 0.52), (1.0, 0.37)),
        bottom=((0.0, 0.36), (0.004, 0.27), (0.013, 0.18), (0.045, 0.13), (0.12, 0.12), (0.9, 0.13), (0.96, 0.16),
                (0.985, 0.2), (0.995, 0.28), (1.0, 0.37)),
        belt=((0.0, 0.5), (0.26, 0.64), (0.6, 0.66), (0.9, 0.69), (0.965, 0.65), (1.0, 0.5)),
        axles=(0.19, 0.79), wheel_radius=0.33,
    ),
    "suv": Shell(
        4.45, 1.86, 1.67,
        top=((0.0, 0.4), (0.005, 0.5), (0.014, 0.56), (0.04, 0.6), (0.13, 0.635), (0.245, 0.665), (0.285, 0.74),
             (0.385, 0.94), (0.43, 0.98), (0.53, 1.0), (0.7, 0.99), (0.84, 0.955), (0.9, 0.91), (0.955, 0.72),
             (0.977, 0.63), (0.992, 0.52), (1.0, 0.4)),
        bottom=((0.0, 0.4), (0.004, 0.3), (0.014, 0.21), (0.05, 0.155), (0.12, 0.14), (0.9, 0.15), (0.96, 0.19),
                (0.985, 0.24), (0.995, 0.31), (1.0, 0.4)),
        belt=((0.0, 0.52), (0.24, 0.65), (0.6, 0.67), (0.9, 0.7), (0.965, 0.66), (1.0, 0.52)),
        axles=(0.195, 0.81), wheel_radius=0.36, wheel_width=0.235, lean=0.25,
    ),
    "compact": Shell(
        3.55, 1.64, 1.49,
        top=((0.0, 0.36), (0.007, 0.45), (0.02, 0.52), (0.05, 0.565), (0.12, 0.62), (0.215, 0.67), (0.26, 0.75),
             (0.37, 0.945), (0.43, 0.985), (0.55, 1.0), (0.74, 0.985), (0.86, 0.955), (0.925, 0.9), (0.97, 0.69),
             (0.985, 0.61), (0.995, 0.5), (1.0, 0.36)),
        bottom=((0.0, 0.36), (0.006, 0.27), (0.018, 0.18), (0.05, 0.13), (0.12, 0.12), (0.9, 0.13), (0.96, 0.16),
                (0.985, 0.2), (0.994, 0.28), (1.0, 0.36)),
        belt=((0.0, 0.52), (0.22, 0.64), (0.6, 0.665), (0.93, 0.7), (0.975, 0.64), (1.0, 0.5)),
        axles=(0.195, 0.845), wheel_radius=0.29, wheel_width=0.18, lean=0.24,
    ),
    "mpv": Shell(
        4.5, 1.85, 1.66,
        top=((0.0, 0.34), (0.005, 0.43), (0.018, 0.49), (0.045, 0.53), (0.11, 0.585), (0.2, 0.64), (0.25, 0.71),
             (0.385, 0.94), (0.44, 0.98), (0.55, 1.0), (0.72, 0.99), (0.87, 0.955), (0.925, 0.91), (0.968, 0.7),
             (0.983, 0.6), (0.994, 0.48), (1.0, 0.34)),
        bottom=((0.0, 0.34), (0.004, 0.25), (0.013, 0.17), (0.045, 0.12), (0.12, 0.11), (0.9, 0.12), (0.96, 0.15),
                (0.985, 0.19), (0.995, 0.26), (1.0, 0.34)),
        belt=((0.0, 0.46), (0.2, 0.59), (0.6, 0.62), (0.93, 0.65), (0.975, 0.6), (1.0, 0.46)),
        axles=(0.2, 0.82), wheel_radius=0.33, lean=0.24,
    ),
    "van": Shell(
        5.3, 1.97, 1.98,
        top=((0.0, 0.3), (0.004, 0.38), (0.012, 0.44), (0.035, 0.48), (0.1, 0.525), (0.165, 0.565), (0.2, 0.64),
             (0.295, 0.92), (0.33, 0.97), (0.42, 1.0), (0.9, 0.995), (0.965, 0.975), (0.982, 0.9), (0.99, 0.6),
             (0.996, 0.42), (1.0, 0.3)),
        bottom=((0.0, 0.3), (0.004, 0.22), (0.013, 0.15), (0.045, 0.11), (0.12, 0.1), (0.9, 0.11), (0.97, 0.13),
                (0.99, 0.17), (0.996, 0.23), (1.0, 0.3)),
        belt=((0.0, 0.42), (0.16, 0.53), (0.6, 0.55), (0.98, 0.56), (1.0, 0.42)),
        bow=((0.0, 0.24), (0.12, 0.14), (0.2, 0.12), (0.34, 0.0), (0.94, 0.0), (1.0, -0.05)),
        axles=(0.175, 0.79), wheel_radius=0.34, wheel_width=0.22, lean=0.13, edge=0.1,
    ),
}  # fmt: skip
SHARES = {"hatchback": 0.25, "sedan": 0.17, "estate": 0.17, "suv": 0.2, "compact": 0.07, "mpv": 0.06, "van": 0.08}


@dataclass(frozen=True)
class Rolling:
    """A vehicle that stands in its own frame, with the wheels that turn.

    Attributes
    ----------
    mesh:
        All of it, wheels as they stand.
    wheels:
        For each wheel: first vertex, vertex after the last, x and z of its centre, radius.
    lights:
        (L,) faces that shine while it brakes.
    coarse:
        The same with fewer triangles, to be seen from afar; None where it makes no difference.
    """

    mesh: Mesh
    wheels: tuple[tuple[int, int, float, float, float], ...]
    lights: NDArray[np.int64]
    coarse: Rolling | None = None

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height in metres of the box that stands on the ground around it."""
        low, high = self.mesh.vertices.min(axis=0), self.mesh.vertices.max(axis=0)
        reach = 2 * np.maximum(np.abs(low), np.abs(high))
        return float(reach[0]), float(reach[1]), float(high[2])

    def rolled(self, distance: float, braking: bool = False) -> Mesh:
        """The mesh after it rolled some metres ahead."""
        vertices = self.mesh.vertices.copy()
        for first, last, x, z, radius in self.wheels:
            angle = distance / radius
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=np.float32)
            part = vertices[first:last]
            center = np.array([x, z], dtype=np.float32)
            part[:, ::2] = (part[:, ::2] - center) @ turn + center
        return self._lit(vertices) if braking else self._with(vertices, self.mesh.materials, self.mesh.colors)

    def _with(self, vertices: NDArray[np.float32], materials: NDArray[np.uint8], colors: NDArray[np.float32]) -> Mesh:
        return Mesh(vertices, self.mesh.faces, self.mesh.classes, materials, colors, self.mesh.uvs)

    def _lit(self, vertices: NDArray[np.float32]) -> Mesh:
        materials, colors = self.mesh.materials.copy(), self.mesh.colors.copy()
        materials[self.lights] = Material.LIGHT
        colors[self.lights] = BRAKE_GLOW
        return self._with(vertices, materials, colors)

    def repainted(self, color: Color) -> Rolling:
        """The same vehicle in another colour."""
        colors = self.mesh.colors.copy()
        colors[self.mesh.materials == Material.CAR_PAINT] = color
        coarse = None if self.coarse is None else self.coarse.repainted(color)
        return Rolling(self._with(self.mesh.vertices, self.mesh.materials, colors), self.wheels, self.lights, coarse)


def rolling(skin: Mesh, parts: list[Mesh], wheels: list[tuple[Mesh, float, float]], class_id: int) -> Rolling:
    """Join a body, its parts and its wheels; a wheel is given with x and its outer side's distance from the middle.

    The wheel's mesh is centred in its own origin, outer side to the left; both sides of the vehicle get one.
    """
    meshes, spans = [skin, *parts], []
    first = sum(len(mesh.vertices) for mesh in meshes)
    for mesh, x, y in wheels:
        radius = float(mesh.vertices[:, 2].max())
        shifted = at(mesh, x, y - float(mesh.vertices[:, 1].max()), radius)
        for part in (shifted, mirrored(shifted)):
            meshes.append(part)
            spans.append((first, first + len(part.vertices), x, radius, radius))
            first += len(part.vertices)
    whole = of_class(Mesh.join(meshes), class_id)
    dull, shining = np.array(TAIL, dtype=np.float32), np.array(TAIL_GLOW, dtype=np.float32)
    red = (whole.colors == dull).all(axis=1) | (whole.colors == shining).all(axis=1)
    return Rolling(whole, tuple(spans), np.flatnonzero(red))


@lru_cache(maxsize=64)
def car(style: str, lights: bool = False, variant: int = 0, coarse: bool = False) -> Rolling:
    """A car.

    Parameters
    ----------
    style:
        One of `STYLES`.
    lights:
        Head and tail lights shine.
    variant:
        Details: lamps, grille, rims; vans without side windows when odd.
    coarse:
        Without what is seen from near only; otherwise the car holds this one as its `coarse`.
    """
    shell = STYLES[style]
    surface = shell.build(coarse)
    rng = np.random.default_rng([variant, *style.encode()])
    cladding = BLACK_PLASTIC if style in ("suv", "van") else None
    skin = surface.skin((0.5, 0.5, 0.5), cladding, finest=COARSE if coarse else 0.0)
    windows(skin, surface, style, cargo=style == "van" and variant % 2 == 1)
    doors(skin, surface, style)
    nose(skin, surface, lights, rng)
    tail(skin, surface, lights, style, rng)
    # the windscreen's foot, where the mirrors are
    mirror_x = float(surface.x[np.abs(surface.x[:, -1] - (0.5 - 0.33) * shell.length).argmin(), surface.side])
    mirror_z = float(surface.belt_line(mirror_x)) + 0.07
    reach = surface.half_width(mirror_x, mirror_z)
    mirror = rounded_box((0.1, 0.17, 0.12), (mirror_x, reach + 0.05, mirror_z), Material.CAR_PAINT, (0.5,) * 3, 0.4)
    foot = rounded_box((0.05, 0.08, 0.05), (mirror_x, reach, mirror_z - 0.04), Material.PLASTIC, BLACK_PLASTIC)
    parts = [pair(mirror), pair(foot)]
    if style in ("estate", "suv"):
        parts.append(rails(surface))
    rim = (0.55, 0.56, 0.57) if rng.random() < 0.75 else (0.06, 0.06, 0.065)
    tyre = wheel(shell.wheel_radius, shell.wheel_width, rim, int(rng.choice([4, 4, 8])), 8 if coarse else 16)
    half = shell.width / 2
    wheels = [(tyre, float(x), half - 0.025) for x in shell.axle_positions()]
    made = rolling(skin.mesh(), parts, wheels, CAR)
    return made if coarse else replace(made, coarse=car(style, lights, variant, coarse=True))


def random_car(rng: np.random.Generator, lights: bool = False, style: str | None = None) -> Rolling:
    """A car as they are met on the road."""
    if style is None:
        style = str(rng.choice(list(SHARES), p=np.array(list(SHARES.values())) / sum(SHARES.values())))
    model = car(style, lights, int(rng.integers(3)))
    return model.repainted(random_paint(rng))


def random_paint(rng: np.random.Generator) -> Color:
    """A colour as cars have them."""
    shares = np.array([share for share, _ in PAINTS])
    color = np.array(PAINTS[rng.choice(len(PAINTS), p=shares / shares.sum())][1])
    red, green, blue = np.clip(color * rng.uniform(0.8, 1.15) * rng.uniform(0.96, 1.04, 3), 0.008, 0.85)
    return float(red), float(green), float(blue)
