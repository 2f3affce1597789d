"""Loops that hand rays to Embree, eight at a time, and look up what is known about the triangles that they hit.

Rays of one packet should lie side by side: those with one origin or one direction are then traced together
(``RTC_RAY_QUERY_FLAG_COHERENT``), in less than half the time.  What a ray hits does not depend on its packet, but of
two surfaces at the very same distance either may be found; callers therefore keep the order of their rays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from panoptic_training.synthetic import embree  # noqa: F401  (brings the library that the functions below are in)
from panoptic_training.synthetic.compiled import compiled, inlined

# Columns of a table of triangles: colour, texture coordinates of the corners, normals at the corners, class, material.
COLOR, UV, NORMAL, CLASS, MATERIAL, COLUMNS = 0, 3, 9, 18, 19, 20
TURNED = 0.7  # cosine: a surface that leaves its smooth normals by more has turned against its body
WIDTH = 8  # rays of a packet
COHERENT = 1 << 16
_FAR = np.float32(1e30)

_address = types.uintp
_intersect8: Any = types.ExternalFunction("rtcIntersect8", types.void(_address, _address, _address, _address))
_occluded8: Any = types.ExternalFunction("rtcOccluded8", types.void(_address, _address, _address, _address))
# Rows of RTCRayHit8: origin, tnear, direction, time, tfar, mask, id, flags; Ng, u, v, primID, geomID, instID, number.
_TFAR, _MASK, _NG, _U, _V, _FACE, _GEOMETRY, _PLACED, _NUMBER, _ROWS = 8, 9, 12, 15, 16, 17, 18, 19, 20, 24


class Columns(NamedTuple):
    """The columns of `raycast.Hits`, as compiled loops take them."""

    distance: NDArray[np.float32]
    class_id: NDArray[np.uint8]
    instance: NDArray[np.int32]
    material: NDArray[np.uint8]
    color: NDArray[np.float32]
    normal: NDArray[np.float32]
    smooth: NDArray[np.float32]
    uv: NDArray[np.float32]
    body: NDArray[np.int32]
    face: NDArray[np.int32]


class Shapes(NamedTuple):
    """What a scene holds: S shapes, those that stay first, in the order of their numbers in Embree.

    Attributes
    ----------
    still:
        How many stay.
    tables:
        (S,) uint64 addresses of their tables of (F, COLUMNS) float32.
    bodies, instances:
        (S,) int32.
    firsts:
        (S,) int32 number of their first triangle among all.
    turns:
        (S, 3, 3) float32 from their frame to the scene's.
    """

    still: int
    tables: NDArray[np.uint64]
    bodies: NDArray[np.int32]
    instances: NDArray[np.int32]
    firsts: NDArray[np.int32]
    turns: NDArray[np.float32]


def _float_pointer(context: Any, address: Any) -> Any:
    """How numba compiles `_floats_at`: the type, and the code."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(types.float32)(types.uint64), code


_floats_at: Any = intrinsic(_float_pointer)  # float32 values at an address


@inlined
def _aligned(rows: int) -> Any:
    """(rows, WIDTH) float32 at an address that is a multiple of 64."""
    memory = np.empty(rows * WIDTH + 16, dtype=np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + rows * WIDTH].reshape(rows, WIDTH)


@inlined
def _load(rays: Any, valid: Any, start: int, origins: Any, directions: Any, reach: Any) -> None:
    """Write the rays from `start` on to a packet; those beyond the last are not valid."""
    count = max(len(origins), len(directions))
    bits = rays.view(np.int32)
    for lane in range(WIDTH):
        ray = min(start + lane, count - 1)
        valid[0, lane] = -1 if start + lane < count else 0
        origin, direction = ray if len(origins) > 1 else 0, ray if len(directions) > 1 else 0
        for axis in range(3):
            rays[axis, lane] = origins[origin, axis]
            rays[4 + axis, lane] = directions[direction, axis]
        rays[3, lane] = rays[7, lane] = 0
        rays[_TFAR, lane] = min(reach[ray if len(reach) > 1 else 0], _FAR)
        bits[_MASK, lane] = -1
        bits[10, lane] = bits[11, lane] = 0


@compiled
def relative(points: Any, origin: Any) -> Any:
    """(N, 3) float32 points from an origin (3,); the difference is taken in the precision of `origin`."""
    result = np.empty(points.shape, dtype=np.float32)
    for point in range(len(points)):
        for axis in range(3):
            result[point, axis] = points[point, axis] - origin[axis]
    return result


@compiled
def blocked(scene: int, origins: Any, directions: Any, reach: Any, coherent: bool) -> Any:
    """(N,) bool, whether a scene has anything within reach along each ray.

    Parameters
    ----------
    scene:
        Handle of a `Scene`.
    origins, directions:
        (N, 3) or (1, 3) float32.
    reach:
        (N,) or (1,) float32 metres.
    coherent:
        Whether rays that follow each other are alike.
    """
    count = max(len(origins), len(directions))
    found = np.empty(count, dtype=np.bool_)
    rays, valid = _aligned(_NG), _aligned(1).view(np.int32)
    arguments = np.zeros(16, dtype=np.int32)
    arguments[0], arguments[1] = COHERENT if coherent else 0, -1  # flags, and that every feature is wanted
    for start in range(0, count, WIDTH):
        _load(rays, valid, start, origins, directions, reach)
        _occluded8(valid.ctypes.data, scene, rays.ctypes.data, arguments.ctypes.data)
        for lane in range(min(WIDTH, count - start)):
            found[start + lane] = rays[_TFAR, lane] < 0  # Embree sets it to minus infinity
    return found


@compiled
def first_hits(
    scene: int,
    shapes: Shapes,
    origins: Any,
    directions: Any,
    reach: Any,
    coherent: bool,
    hits: Columns,
) -> None:
    """Fill the columns of hits; other arguments as for `blocked`.

    Columns of rays that hit nothing are left as they are, but for the distance, which is infinite.
    """
    count = len(directions)
    rays, valid = _aligned(_ROWS), _aligned(1).view(np.int32)
    bits = rays.view(np.int32)
    arguments = np.zeros(16, dtype=np.int32)
    arguments[0], arguments[1] = COHERENT if coherent else 0, -1
    for start in range(0, count, WIDTH):
        _load(rays, valid, start, origins, directions, reach)
        for lane in range(WIDTH):
            bits[_GEOMETRY, lane] = bits[_PLACED, lane] = -1
        _intersect8(valid.ctypes.data, scene, rays.ctypes.data, arguments.ctypes.data)
        for lane in range(min(WIDTH, count - start)):
            ray = start + lane
            if bits[_GEOMETRY, lane] < 0:
                hits.distance[ray] = np.inf
                continue
            moves = bits[_PLACED, lane] == 1
            shape = shapes.still + bits[_NUMBER, lane] if moves else bits[_GEOMETRY, lane]
            triangle, table = bits[_FACE, lane], _floats_at(shapes.tables[shape])
            row = np.int64(triangle) * COLUMNS
            second, third = rays[_U, lane], rays[_V, lane]
            first = np.float32(1) - second - third
            hits.distance[ray] = rays[_TFAR, lane]
            hits.class_id[ray], hits.material[ray] = np.uint8(table[row + CLASS]), np.uint8(table[row + MATERIAL])
            hits.body[ray], hits.instance[ray] = shapes.bodies[shape], shapes.instances[shape]
            hits.face[ray] = shapes.firsts[shape] + triangle
            for axis in range(3):
                hits.color[ray, axis] = table[row + COLOR + axis]
            for axis in range(2):
                at = row + UV + axis
                hits.uv[ray, axis] = first * table[at] + second * table[at + 2] + third * table[at + 4]
            # Embree's normal and the corners' are in the shape's own frame.
            flat = _unit(rays[_NG, lane], rays[_NG + 1, lane], rays[_NG + 2, lane])
            at = row + NORMAL
            mean = _unit(
                first * table[at] + second * table[at + 3] + third * table[at + 6],
                first * table[at + 1] + second * table[at + 4] + third * table[at + 7],
                first * table[at + 2] + second * table[at + 5] + third * table[at + 8],
            )
            # A wheel or a limb has turned against its body since: where that shows, the triangle's own normal it is.
            if moves and flat[0] * mean[0] + flat[1] * mean[1] + flat[2] * mean[2] < TURNED:
                mean = flat
            turn = shapes.turns[shape]
            toward = np.float32(0)
            for axis in range(3):
                hits.normal[ray, axis] = turn[axis, 0] * flat[0] + turn[axis, 1] * flat[1] + turn[axis, 2] * flat[2]
                hits.smooth[ray, axis] = turn[axis, 0] * mean[0] + turn[axis, 1] * mean[1] + turn[axis, 2] * mean[2]
                toward += hits.normal[ray, axis] * directions[ray, axis]
            if toward > 0:
                for axis in range(3):
                    hits.normal[ray, axis], hits.smooth[ray, axis] = -hits.normal[ray, axis], -hits.smooth[ray, axis]


@inlined
def _unit(x: Any, y: Any, z: Any) -> Any:
    """The vector with length 1, or as it is if it has hardly any."""
    scale = np.float32(1) / np.sqrt(max(x * x + y * y + z * z, np.float32(1e-30)))
    return x * scale, y * scale, z * scale


@compiled
def turned(vectors: NDArray[np.float32], rotation: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) vectors of one frame in another; `rotation` is (3, 3), from the first to the second.

    Not numpy's ``@``, which wakes the threads of BLAS for it, and these then wait for more on the processor.
    """
    result = np.empty_like(vectors)
    for i in range(len(vectors)):
        x, y, z = vectors[i]
        for axis in range(3):
            result[i, axis] = rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z
    return result
