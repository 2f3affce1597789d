"""The surface of a clothed person who stands upright, part by part, and which bones each part follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.skeleton import BONES, Bone, Build
from panoptic_training.synthetic.solids import Color, ellipsoid, loft, rounded_box

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Clothes:
    """What somebody wears and carries."""

    skin: Color
    hair: Color
    top: Color
    trousers: Color
    shoes: Color
    sleeves: float = 1.0  # how far down the arm
    legs: float = 1.0  # how far down the leg
    coat: float = 0.0  # how far down from the hip, in parts of the leg
    hat: str = ""  # "", "cap", "beanie", "helmet", "hood"
    long_hair: bool = False
    bag: str = ""  # "", "backpack", "handbag", "shopping"
    accent: Color = (0.05, 0.05, 0.05)


class Dress:
    """Puts the surface of a person together: meshes, and how much each vertex follows each bone (V, BONES)."""

    def __init__(self, build: Build, clothes: Clothes, coarse: bool) -> None:
        self.build = build
        self.clothes = clothes
        self._coarse = coarse
        self._parts: list[tuple[Mesh, NDArray[np.float32]]] = []

    def parts(self) -> list[tuple[Mesh, NDArray[np.float32]]]:
        """All parts."""
        size = self.build.height / 1.75  # lengths below are those of somebody of 1.75 m
        self._trunk(size)
        self._head(size)
        for side in (0, 1):
            self._leg(size, side)
            self._arm(size, side)
        self._luggage(size)
        return self._parts

    def _tube(self, rings: Array, sides: int, material: Material, color: Color, square: float = 1.0) -> Mesh:
        return _tube(rings, max(sides // 2, 4) if self._coarse else sides, material, color, square)

    def _ball(
        self,
        size: tuple[float, ...],
        center: tuple[float, ...],
        material: Material,
        color: Color,
        rings: int,
        sides: int,
    ) -> Mesh:
        if self._coarse:
            rings, sides = max(rings // 2, 3), max(sides // 2 + 1, 4)
        return ellipsoid(size, center, material, color, rings, sides)

    def _add(self, mesh: Mesh, bone: int, other: int | None = None, share: Array | None = None) -> None:
        """A part that follows a bone, or to a `share` (V,) another."""
        weight = np.zeros((len(mesh.vertices), BONES), dtype=np.float32)
        weight[:, bone] = 1.0
        if other is not None and share is not None:
            weight[:, bone] = 1.0 - share
            weight[:, other] = share
        self._parts.append((mesh, weight))

    def _trunk(self, size: float) -> None:
        build, clothes = self.build, self.clothes
        girth = build.girth
        # trunk: from crotch to neck, (height, half width, half depth, forward)
        shoulder = build.shoulder_half
        rings = np.array([
            (build.hip - 0.06 * size, 0.135 * girth, 0.095 * girth, 0.0),
            (build.hip, 0.165 * girth, 0.115 * girth, -0.008),
            (build.hip + 0.07 * size, 0.165 * girth, 0.115 * girth, -0.004),
            (build.waist, 0.145 * girth, 0.105 * girth, 0.008 * girth),
            (build.waist + 0.13 * size, 0.165 * girth, 0.12 * girth, 0.012),
            (build.shoulder - 0.1 * size, 0.178 * girth, 0.12 * girth, 0.008),
            (build.shoulder - 0.015, shoulder * 1.0 / size, 0.092, 0.0),
            (build.shoulder + 0.028 * size, shoulder * 0.74 / size, 0.078, -0.004),
            (build.shoulder + 0.05 * size, shoulder * 0.45 / size, 0.07, -0.006),
            (build.neck, 0.062, 0.062, 0.0),
        ])  # fmt: skip
        rings[:, 1:] *= size
        trunk = self._tube(rings, 12, Material.FABRIC, clothes.top, square=0.75)
        low = trunk.vertices[trunk.faces][:, :, 2].mean(axis=1) < (
            build.hip + 0.05 * size if clothes.coat == 0 else 0.0
        )
        trunk.colors[low] = clothes.trousers
        share = np.clip((trunk.vertices[:, 2] - build.hip - 0.05) / (build.waist + 0.06 - build.hip), 0, 1)
        self._add(trunk, Bone.PELVIS, Bone.CHEST, share.astype(np.float64))
        if clothes.coat > 0:
            hem = build.hip - clothes.coat * (build.hip - build.ankle)
            wide = 0.175 * girth + 0.05 * clothes.coat
            skirt = np.array(
                [
                    (hem, wide, wide * 0.85, 0.0),
                    ((hem + build.hip) / 2, 0.175 * girth, 0.135 * girth, 0),
                    (build.hip + 0.08 * size, 0.168 * girth, 0.118 * girth, 0),
                ]
            )
            skirt[:, 1:] *= size
            hanging = self._tube(skirt, 12, Material.FABRIC, clothes.top)
            weight = np.zeros((len(hanging.vertices), BONES), dtype=np.float32)
            # the legs take the cloth along
            pulled = np.clip((build.hip + 0.06 * size - hanging.vertices[:, 2]) / (0.3 * size), 0, 0.85)
            left = np.clip(0.5 + hanging.vertices[:, 1] / (0.2 * size), 0.1, 0.9)
            weight[:, Bone.PELVIS] = 1 - pulled
            weight[:, Bone.THIGH], weight[:, Bone.THIGH + 1] = pulled * left, pulled * (1 - left)
            self._parts.append((hanging, weight))
        neck = np.array(
            [(build.neck - 0.04 * size, 0.055, 0.058, 0.0), (build.neck + 0.06 * size, 0.052, 0.056, 0.012)]
        )
        neck[:, 1:] *= size
        throat = self._tube(neck, 8, Material.SKIN, clothes.skin)
        self._add(
            throat,
            Bone.CHEST,
            Bone.HEAD,
            (throat.vertices[:, 2] > build.neck).astype(np.float64),
        )

    def _head(self, size: float) -> None:
        build, clothes = self.build, self.clothes
        # adults' heads hardly vary; children's are large for their height
        tall = 0.115 * (0.55 + 0.45 * size)
        middle = build.height - tall
        head = self._ball(
            (tall * 1.68, tall * 1.36, 2 * tall), (0.02 * size, 0, middle), Material.SKIN, clothes.skin, 8, 10
        )
        points = head.vertices[head.faces].mean(axis=1)
        hairy = (points[:, 2] - middle > 0.25 * tall + 0.95 * (points[:, 0] - 0.02 * size)) & (
            points[:, 2] > middle - 0.65 * tall
        )
        head.colors[hairy] = clothes.hair
        head.materials[hairy] = Material.FABRIC
        self._add(head, Bone.HEAD)
        nose = self._ball(
            (0.04 * size, 0.028 * size, 0.05 * size),
            (0.02 * size + tall * 0.84, 0, middle - 0.12 * tall),
            Material.SKIN,
            clothes.skin,
            4,
            5,
        )
        self._add(nose, Bone.HEAD)
        if clothes.long_hair:
            mane = self._ball(
                (tall * 1.1, tall * 1.5, tall * 2.3),
                (-0.3 * tall, 0, middle - 0.45 * tall),
                Material.FABRIC,
                clothes.hair,
                6,
                8,
            )
            self._add(mane, Bone.HEAD)
        if clothes.hat:
            raised = {"cap": 0.42, "beanie": 0.3, "helmet": 0.22, "hood": 0.02}[clothes.hat]
            wide = {"cap": 1.08, "beanie": 1.1, "helmet": 1.28, "hood": 1.22}[clothes.hat]
            shift = -0.012 if clothes.hat != "hood" else -0.03
            material = Material.PLASTIC if clothes.hat == "helmet" else Material.FABRIC
            latitude = np.linspace(np.arcsin(raised), 1.35, 5)
            rings = np.stack(
                [
                    middle + tall * wide * 0.97 * np.sin(latitude),
                    tall * 0.7 * wide * np.cos(latitude),
                    tall * 0.86 * wide * np.cos(latitude),
                    np.full(5, 0.02 * size + shift),
                ],
                1,
            )
            self._add(self._tube(rings, 10, material, clothes.accent), Bone.HEAD)
            if clothes.hat == "cap":
                brim = rounded_box(
                    (0.11 * size, 0.13 * size, 0.015),
                    (0.02 * size + tall * 0.95, 0, middle + tall * 0.42),
                    material,
                    clothes.accent,
                    0.4,
                )
                self._add(brim, Bone.HEAD)

    def _leg(self, size: float, side: int) -> None:
        build, clothes = self.build, self.clothes
        girth = 0.6 + 0.4 * build.girth
        y = build.hip_half * (1 if side == 0 else -1)
        legs = np.array([
            (build.ankle - 0.01, 0.047, 0.05, 0.0),
            (build.ankle + 0.08 * size, 0.05, 0.055, -0.004),
            (build.knee - 0.13 * size, 0.062, 0.07, -0.016),
            (build.knee - 0.04 * size, 0.058, 0.062, 0.0),
            (build.knee + 0.05 * size, 0.064, 0.067, 0.004),
            ((build.knee + build.hip) / 2, 0.078 * girth, 0.085 * girth, 0.004),
            (build.hip - 0.05 * size, 0.087 * girth, 0.1 * girth, -0.005),
            (build.hip + 0.05 * size, 0.075 * girth, 0.09 * girth, -0.005),
        ])  # fmt: skip
        legs[:, 1:] *= size
        leg = self._tube(legs, 8, Material.FABRIC, clothes.trousers)
        leg.vertices[:, 1] += y
        bare = (
            leg.vertices[leg.faces][:, :, 2].mean(axis=1) < build.hip - clothes.legs * (build.hip - build.ankle) * 1.01
        )
        leg.colors[bare] = clothes.skin
        leg.materials[bare] = Material.SKIN
        if clothes.coat > 0:  # no trousers show where the cloth gives way to a leg
            hidden = leg.vertices[leg.faces][:, :, 2].mean(axis=1) > build.hip - clothes.coat * (
                build.hip - build.ankle
            )
            leg.colors[hidden] = clothes.top
            leg.materials[hidden] = Material.FABRIC
        share = np.clip((build.knee + 0.045 * size - leg.vertices[:, 2]) / (0.09 * size), 0, 1).astype(np.float64)
        self._add(leg, Bone.THIGH + side, Bone.SHIN + side, share)
        foot = np.array([
            (-build.heel, 0.034, 0.045), (-build.heel * 0.4, 0.045, 0.075), (build.ball * 0.3, 0.042, 0.075),
            (build.ball, 0.05, 0.045), (build.ball * 1.75, 0.03, 0.03),
        ])  # fmt: skip
        sides = 4 if self._coarse else 8
        angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
        outline = np.stack([np.zeros(sides), np.cos(angle), np.clip(np.sin(angle), -0.7, 1) / 1.7 + 0.7 / 1.7], -1)
        rings = np.stack([outline * (0, wide * size, tall * size) + (x, 0, 0) for x, wide, tall in foot])
        shoe = loft(rings, Material.RUBBER, clothes.shoes)
        toes = np.clip((shoe.vertices[:, 0] / build.ball - 0.9) / 0.3, 0, 1).astype(np.float64)
        shoe.vertices[:, 1] += y
        self._add(shoe, Bone.FOOT + side, Bone.TOE + side, toes)

    def _arm(self, size: float, side: int) -> None:
        build, clothes = self.build, self.clothes
        girth = 0.6 + 0.4 * build.girth
        y = build.shoulder_half * (1 if side == 0 else -1)
        elbow, wrist = build.shoulder - build.upper_arm, build.shoulder - build.upper_arm - build.forearm
        arms = np.array([
            (wrist, 0.03, 0.032, 0.0), (wrist + 0.1 * size, 0.038, 0.042, 0.0),
            (elbow - 0.03 * size, 0.045, 0.047, 0.0), (elbow + 0.03 * size, 0.045, 0.048, 0.0),
            (elbow + 0.14 * size, 0.052 * girth, 0.055 * girth, 0.0),
            (build.shoulder - 0.04 * size, 0.06 * girth, 0.068 * girth, 0.0),
            (build.shoulder + 0.005 * size, 0.048, 0.056, 0.0), (build.shoulder + 0.022 * size, 0.022, 0.03, 0.0),
        ])  # fmt: skip
        arms[:, 1:] *= size
        arm = self._tube(arms, 7, Material.FABRIC, clothes.top)
        arm.vertices[:, 1] += y
        bare = (
            arm.vertices[arm.faces][:, :, 2].mean(axis=1)
            < build.shoulder - clothes.sleeves * (build.shoulder - wrist) * 1.01
        )
        arm.colors[bare] = clothes.skin
        arm.materials[bare] = Material.SKIN
        share = np.clip((elbow + 0.03 * size - arm.vertices[:, 2]) / (0.06 * size), 0, 1).astype(np.float64)
        self._add(arm, Bone.UPPER_ARM + side, Bone.FOREARM + side, share)
        hand = self._ball(
            (0.075 * size, 0.045 * size, 0.17 * size), (0.01, y, wrist - 0.06 * size), Material.SKIN, clothes.skin, 5, 6
        )
        self._add(hand, Bone.FOREARM + side)

    def _luggage(self, size: float) -> None:
        build, clothes = self.build, self.clothes
        if clothes.bag == "backpack":
            depth = 0.17 * size
            pack = rounded_box(
                (depth, 0.3 * size, 0.44 * size),
                (-0.12 * size * build.girth - depth / 2 + 0.02, 0, build.shoulder - 0.2 * size),
                Material.FABRIC,
                clothes.accent,
                0.35,
            )
            self._add(pack, Bone.CHEST)
        elif clothes.bag == "handbag":
            bag = rounded_box(
                (0.3 * size, 0.12 * size, 0.22 * size),
                (-0.02, -build.shoulder_half - 0.08 * size, build.hip + 0.04 * size),
                Material.FABRIC,
                clothes.accent,
                0.25,
            )
            self._add(bag, Bone.PELVIS)
        elif clothes.bag == "shopping":
            wrist = build.shoulder - build.upper_arm - build.forearm
            bag = rounded_box(
                (0.3 * size, 0.13 * size, 0.34 * size),
                (0.02, -build.shoulder_half, wrist - 0.3 * size),
                Material.FABRIC,
                clothes.accent,
                0.2,
            )
            self._add(bag, Bone.FOREARM + 1)


def _tube(rings: Array, sides: int, material: Material, color: Color, square: float = 1.0) -> Mesh:
    """A solid through elliptic rings of (z, half width, half depth, forward), from below; `square` < 1: fuller."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    across = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** square
    along = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** square
    points = np.stack(
        [
            rings[:, 3:4] + rings[:, 2:3] * along,
            rings[:, 1:2] * across,
            np.repeat(rings[:, :1], sides, axis=1),
        ],
        axis=-1,
    )
    return loft(points, material, color)
