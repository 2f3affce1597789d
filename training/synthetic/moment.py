"""Everything there is at one moment, as rays meet it: what stays, and bodies at their places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.detail import Solid, corner_normals, table_of
from panoptic_training.synthetic.embree import Scene
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.tracing import Shapes

NOBODY = -1


class Standing:
    """What never moves, in one Embree scene: the world's own triangles, and bodies that rest.

    Parameters
    ----------
    meshes:
        With vertices in the scene's frame.
    bodies, instances:
        Of each: index of its body, -1 for none, and its instance.

    Attributes
    ----------
    scene, shapes:
        For `tracing`: the triangles, and what is known about them.
    count:
        Triangles.
    """

    def __init__(self, meshes: Sequence[Mesh], bodies: Sequence[int], instances: Sequence[int]) -> None:
        self.scene = Scene.triangles([(mesh.vertices, mesh.faces) for mesh in meshes])
        self._tables = [table_of(mesh, corner_normals(mesh.vertices, mesh.faces)) for mesh in meshes]
        lengths = np.array([len(mesh.faces) for mesh in meshes])
        self.count = int(lengths.sum())
        self.shapes = Shapes(
            still=len(meshes),
            tables=np.array([table.ctypes.data for table in self._tables], dtype=np.uint64),
            bodies=np.array(bodies, dtype=np.int32),
            instances=np.array(instances, dtype=np.int32),
            firsts=(np.cumsum(lengths) - lengths).astype(np.int32),
            turns=np.repeat(np.eye(3, dtype=np.float32)[None], len(meshes), axis=0),
        )


class Moment:
    """What stays and what moves, at one moment.

    Parameters
    ----------
    standing:
        What stays.
    solids:
        Of the bodies that move.
    bodies, instances:
        Of each of the `solids`.
    places:
        (N, 3, 4) float64 from their frames to the scene's.

    Attributes
    ----------
    scene, shapes:
        For `tracing`: the triangles, and what is known about them.
    count:
        Triangles that move.
    """

    def __init__(
        self,
        standing: Standing,
        solids: Sequence[Solid],
        bodies: Sequence[int],
        instances: Sequence[int],
        places: NDArray[np.float64],
    ) -> None:
        self._kept = standing, solids  # whose tables are read by their addresses
        self.scene = Scene.placed(standing.scene, [solid.scene for solid in solids], places)
        lengths = np.array([len(solid.level.faces) for solid in solids], dtype=np.int64)
        self.count = int(lengths.sum())
        still = standing.shapes
        self.shapes = Shapes(
            still=still.still,
            tables=np.append(still.tables, np.array([solid.address for solid in solids], dtype=np.uint64)),
            bodies=np.append(still.bodies, np.array(bodies, dtype=np.int32)),
            instances=np.append(still.instances, np.array(instances, dtype=np.int32)),
            firsts=np.append(still.firsts, (standing.count + np.cumsum(lengths) - lengths).astype(np.int32)),
            turns=np.concatenate([still.turns, places[:, :, :3].astype(np.float32)]),
        )
