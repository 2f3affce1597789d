"""Domain randomisation: how far one street of a data set differs from another beyond what a town would.

Streets, buildings, traffic, people and textures are others for each seed anyway, and so is the weather, in its shares.
Varied here, by one number from 0 to 1, are the cameras' places, lenses and pictures, and the colours of surfaces.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from panoptic_training.synthetic.drive import random_numbers
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.mounts import CameraMount, Lens
from panoptic_training.synthetic.rig import Rig

# At a variation of 1: metres, and degrees of roll, pitch and yaw.
HEIGHT, TURN = 0.4, (2.0, 4.0, 15.0)
ZOOM = 1.4  # focal lengths from 1 / ZOOM to ZOOM times the rig's
LOWEST = 0.2  # metres above the ground
LIGHTER, HUE = 0.35, 0.12  # standard deviations, as exponents, of a surface's lightness and of each of its colours


def varied_rig(rig: Rig, seed: int, variation: float) -> Rig:
    """The rig as one street of a data set has it: its cameras elsewhere, with other lenses and pictures.

    Parameters
    ----------
    seed:
        Of the street.
    variation:
        0 to 1; 0 is the rig itself.  At 1 cameras are at most 0.4 m up or down, turned by 2 degrees of roll, 4 of
        pitch and 15 of yaw, and have a focal length of 0.7 to 1.4 times the rig's; their exposure, white balance,
        noise, vignetting and compression differ as those of cheap and of good cameras do.
    """
    if not variation:
        return rig
    return replace(rig, cameras=tuple(_varied_camera(camera, seed, variation) for camera in rig.cameras))


def check_variation(rig: Rig, variation: float) -> None:
    """Refuse a variation that gives a camera a lens that cannot be.

    Raises
    ------
    ValueError
        That names the camera.
    """
    for camera in rig.cameras:
        for zoom in (-variation, variation):
            try:
                _zoomed(camera.lens, zoom)
            except ValueError as error:
                raise ValueError(f"{camera.name}: lens, {ZOOM**zoom:.2f} times its focal length: {error}") from error


def _zoomed(lens: Lens, zoom: float) -> Lens:
    """The lens with a focal length that is `ZOOM` to the power of `zoom` times as long."""
    factor = float(ZOOM**zoom)
    return replace(lens, fx=lens.fx * factor, fy=(lens.fx if lens.fy is None else lens.fy) * factor)


def _varied_camera(camera: CameraMount, seed: int, variation: float) -> CameraMount:
    rng = random_numbers(seed, camera.name, zlib.crc32(b"mount"))
    up, roll, pitch, yaw, zoom = rng.uniform(-1, 1, 5) * variation
    (x, y, z), turn = camera.position, camera.rpy_degrees
    return replace(
        camera,
        lens=_zoomed(camera.lens, float(zoom)),
        position=(x, y, max(min(LOWEST, z), z + float(up) * HEIGHT)),
        rpy_degrees=(
            turn[0] + float(roll) * TURN[0],
            turn[1] + float(pitch) * TURN[1],
            turn[2] + float(yaw) * TURN[2],
        ),
        effects=_varied_effects(camera.effects, rng, variation),
    )


def _varied_effects(effects: Effects, rng: np.random.Generator, variation: float) -> Effects:
    """More of what a camera does wrong, by chance."""
    exposure, white, noise, corners, quality = rng.uniform(0, 1, 5)
    compressed = rng.random() < 0.5 * variation
    return replace(
        effects,
        exposure_jitter=effects.exposure_jitter + 0.3 * variation * float(exposure),
        white_balance_jitter=effects.white_balance_jitter + 0.08 * variation * float(white),
        noise=effects.noise + 1.5 * variation * float(noise),
        vignetting=min(1.0, effects.vignetting + 0.3 * variation * float(corners)),
        jpeg_quality=int(35 + 60 * quality) if compressed and not effects.jpeg_quality else effects.jpeg_quality,
    )


def repainted(mesh: Mesh, seed: int, variation: float) -> Mesh:
    """The mesh with every kind of surface lighter or darker and of another hue.

    Parameters
    ----------
    mesh:
        What stands along a street; a kind of surface is a class and a material.
    seed:
        Of the street.
    variation:
        0 to 1; 0 is the mesh itself.
    """
    if not variation:
        return mesh
    rng = np.random.default_rng([seed, 8])
    # for all kinds that there can be, so that a kind's colour does not depend on which others occur
    factors = np.exp(
        variation * (LIGHTER * rng.standard_normal((256, 256, 1)) + HUE * rng.standard_normal((256, 256, 3)))
    )
    tint = factors[mesh.classes, mesh.materials].astype(np.float32)
    return replace(mesh, colors=np.clip(mesh.colors * tint, 0.0, 1.0))
