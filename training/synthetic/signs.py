"""Traffic signs and traffic lights: flat faces with their colours, heads with three lamps."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.facades import Frame
from panoptic_training.synthetic.facets import UP, Facets, facing, srgb
from panoptic_training.synthetic.lettering import cells
from panoptic_training.synthetic.mesh import Material

POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 17, 19, 20

SignKind = Literal["speed", "no stopping", "warning", "yield", "stop", "priority", "parking", "crossing", "bus"]

_RED, _WHITE, _BLUE = srgb(186, 30, 34), srgb(232, 232, 228), srgb(24, 78, 158)
_YELLOW, _BLACK, _GREY = srgb(236, 186, 40), srgb(24, 24, 26), srgb(128, 130, 132)
_GALVANISED = srgb(146, 150, 152)
_LAYER = 0.004  # between the layers of a face, metres

LAMP_COLORS = {"red": (1.0, 0.06, 0.03), "amber": (1.0, 0.45, 0.03), "green": (0.05, 0.9, 0.45)}
LAMP_RADIUS = 0.1
LAMP_SPACING = 0.29


class _Face:
    """Draws flat shapes in front of each other on a plate."""

    def __init__(self, facets: Facets, center: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
        self.facets, self.center, self.axes = facets, center, facing(normal)

    def polygon(self, outline: NDArray[np.float64], layer: int, color: NDArray[np.float64]) -> None:
        points = self.center + outline @ self.axes[:2] + layer * _LAYER * self.axes[2]
        inner = np.arange(1, len(points) - 1)
        fan = np.stack([points[0 * inner], points[inner], points[inner + 1]], axis=1)
        self.facets.triangles(fan, TRAFFIC_SIGN, Material.SIGN, color)

    def plate(self, outline: NDArray[np.float64]) -> None:
        """The sheet behind, grey from the back."""
        self.facets.prism(
            outline, self.center - 0.012 * self.axes[2], self.axes, 0.012, TRAFFIC_SIGN, Material.METAL, _GREY
        )

    def text(self, text: str, size: float, layer: int, color: NDArray[np.float64]) -> None:
        half = (4 * len(text) - 1) / 2
        for u0, u1, v0, v1 in (cells(text) - [half, half, 2.5, 2.5]) * size:
            self.polygon(np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]]), layer, color)


def _circle(radius: float, sides: int = 24, turn: float = 0.0) -> NDArray[np.float64]:
    angle = turn + 2 * np.pi * np.arange(sides) / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _rectangle(width: float, height: float, v: float = 0.0, u: float = 0.0) -> NDArray[np.float64]:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2] + [u, v]


_PERSON = (
    np.add(_circle(0.045, 8), [0.0, 0.17]),
    np.array([[-0.05, -0.03], [0.05, -0.03], [0.06, 0.11], [-0.06, 0.11]]),
    np.array([[-0.13, -0.22], [-0.07, -0.22], [0.05, -0.03], [-0.04, -0.03]]),
    np.array([[0.08, -0.22], [0.14, -0.22], [0.05, -0.03], [-0.02, -0.03]]),
)


def sign_face(
    facets: Facets, center: NDArray[np.float64], normal: NDArray[np.float64], kind: SignKind, text: str = "30"
) -> None:
    """One sign of about 0.6 m that faces `normal`, its middle at `center`."""
    face = _Face(facets, center, normal)
    up, down = np.pi / 2, -np.pi / 2
    if kind in ("speed", "no stopping"):
        face.plate(_circle(0.31))
        face.polygon(_circle(0.3), 1, _RED)
        if kind == "speed":
            face.polygon(_circle(0.23), 2, _WHITE)
            face.text(text, 0.048, 3, _BLACK)
        else:
            face.polygon(_circle(0.25), 2, _BLUE)
            for layer, slant in ((3, 1.0), (4, -1.0)):
                bar = _rectangle(0.5, 0.055) @ np.array([[1.0, slant], [-slant, 1.0]]) / np.sqrt(2)
                face.polygon(bar, layer, _RED)
    elif kind in ("warning", "yield"):
        turn = up if kind == "warning" else down
        face.plate(_circle(0.42, 3, turn))
        face.polygon(_circle(0.41, 3, turn), 1, _RED)
        face.polygon(_circle(0.27, 3, turn), 2, _WHITE)
        if kind == "warning":
            for part in _PERSON:
                face.polygon(part * 0.62 - [0.0, 0.03], 3, _BLACK)
    elif kind == "stop":
        face.plate(_circle(0.33, 8, np.pi / 8))
        face.polygon(_circle(0.325, 8, np.pi / 8), 1, _WHITE)
        face.polygon(_circle(0.3, 8, np.pi / 8), 2, _RED)
        face.text("STOP", 0.034, 3, _WHITE)
    elif kind == "priority":
        face.plate(_circle(0.36, 4))
        face.polygon(_circle(0.35, 4), 1, _WHITE)
        face.polygon(_circle(0.24, 4), 2, _YELLOW)
    else:
        tall = 0.62 if kind != "bus" else 0.5
        face.plate(_rectangle(0.52, tall))
        face.polygon(_rectangle(0.51, tall - 0.01), 1, _YELLOW if kind == "bus" else _BLUE)
        if kind == "parking":
            face.text("P", 0.08, 2, _WHITE)
        elif kind == "bus":
            face.text("BUS", 0.036, 2, _BLACK)
        else:
            face.polygon(np.array([[-0.2, -0.2], [0.2, -0.2], [0.0, 0.22]]), 2, _WHITE)
            for part in _PERSON:
                face.polygon(part * 0.62 - [0.0, 0.05], 3, _BLACK)


def sign_post(
    facets: Facets, foot: NDArray[np.float64], normal: NDArray[np.float64], kinds: list[SignKind], text: str = "30"
) -> None:
    """A post with signs above each other, the lowest clear of people's heads."""
    height = 2.3 + 0.72 * len(kinds)
    facets.bars(foot - 0.1 * UP, foot + height * UP, 0.035, POLE, Material.METAL, _GALVANISED, sides=8)
    facing_out = np.asarray(normal, dtype=np.float64)
    for k, kind in enumerate(kinds):
        middle = foot + (height - 0.36 - 0.72 * k) * UP + 0.055 * facing_out / np.linalg.norm(facing_out)
        sign_face(facets, middle, facing_out, kind, text)


def street_name(facets: Facets, foot: NDArray[np.float64], along: list[NDArray[np.float64]]) -> None:
    """Two plates with street names at right angles, on a post."""
    facets.bars(foot - 0.1 * UP, foot + 2.9 * UP, 0.03, POLE, Material.METAL, _GALVANISED, sides=8)
    for k, right in enumerate(along):
        frame = Frame(foot + (2.55 + 0.2 * k) * UP, right, 1.0)
        frame.boxes(facets, -0.45, 0.45, -0.08, 0.08, -0.012, 0.012, Material.SIGN, _BLUE, TRAFFIC_SIGN)
        u0, u1, v0, v1 = cells("MAIN ST" if k else "CHURCH ST").T * 0.02
        u0, u1, v0, v1 = u0 - 0.28, u1 - 0.28, v0 - 0.05, v1 - 0.05
        frame.rectangles(facets, u0, u1, v0, v1, 0.014, Material.SIGN, _WHITE, TRAFFIC_SIGN)
        behind = Frame(frame.origin, -frame.right, 1.0)
        behind.rectangles(facets, u0, u1, v0, v1, 0.014, Material.SIGN, _WHITE, TRAFFIC_SIGN)


def light_head(facets: Facets, center: NDArray[np.float64], normal: NDArray[np.float64], board: bool) -> None:
    """A housing with three hoods, its middle at `center`, on a board with a white rim if wanted.

    The lenses under the hoods are for `lenses` to place.
    """
    right, up, out = axes = facing(normal)
    box_axes = np.stack([right, -out, up])
    dark = srgb(30, 31, 32)
    facets.boxes(center, [0.3, 0.2, 0.92], TRAFFIC_LIGHT, Material.PLASTIC, dark, box_axes)
    if board:
        rim, plate = _rectangle(0.52, 1.16), _rectangle(0.45, 1.09)
        back = center - 0.06 * out
        facets.prism(rim, back, axes, 0.02, TRAFFIC_LIGHT, Material.PLASTIC, dark)
        for outline, layer, color in ((rim, 0.022, _WHITE), (plate, 0.026, dark)):
            facets.quads(back + outline @ axes[:2] + layer * out, TRAFFIC_LIGHT, Material.PLASTIC, color)
    for middle in lenses(center, normal).values():
        angle = np.linspace(-0.3, np.pi + 0.3, 9)
        arc = np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * up
        outer, inner = middle + (LAMP_RADIUS + 0.016) * arc, middle + (LAMP_RADIUS + 0.006) * arc
        deep = 0.17 * out
        hood = [
            np.stack([outer[:-1], outer[1:], outer[1:] + deep, outer[:-1] + deep], axis=1)[:, ::-1],
            np.stack([inner[:-1], inner[1:], inner[1:] + deep, inner[:-1] + deep], axis=1),
            np.stack([inner[:-1], outer[:-1], outer[1:], inner[1:]], axis=1) + deep,
        ]
        facets.quads(np.concatenate(hood), TRAFFIC_LIGHT, Material.PLASTIC, dark)


def lenses(center: NDArray[np.float64], normal: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """(3,) middles of a head's lenses on its front, by their colours."""
    _, up, out = facing(normal)
    return {name: center + (1 - k) * LAMP_SPACING * up + 0.1 * out for k, name in enumerate(LAMP_COLORS)}
