"""Embree 4, Intel's library for ray tracing, by its C interface: scenes of triangles, and of scenes that are placed.

The library is the one that the package ``embreex`` brings; embreex's own classes know no instances, and copy every
triangle of a scene that is built anew.  Here a body that moves keeps what Embree has built of it and gets a new place.
Constants are those of ``embree4/rtcore_*.h``; rays are traced in `tracing`.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata

import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

_TRIANGLES, _INSTANCE, _INSTANCES = 0, 121, 122  # RTC_GEOMETRY_TYPE
_INDEX, _VERTEX, _TRANSFORM = 0, 1, 23  # RTC_BUFFER_TYPE
_UINT, _UINT3, _FLOAT3, _FLOAT3X4 = 0x5001, 0x5003, 0x9003, 0x9234  # RTC_FORMAT; the last in columns
_ROBUST = 1 << 2  # RTC_SCENE_FLAG: no ray slips between neighbouring triangles
_LOW, _MEDIUM = 0, 1  # RTC_BUILD_QUALITY


def _library() -> str:
    """Path of Embree's shared library."""
    try:
        files = metadata.files("embreex") or []
    except metadata.PackageNotFoundError:
        raise ImportError("the synthetic world needs Embree: pip install -c constraints.txt -e '.[training]'") from None
    for file in files:
        if "embree4" in file.name and file.suffix != ".py":
            return str(file.locate())
    raise ImportError(f"embreex {metadata.version('embreex')} has no library embree4 among its files")


_PATH = _library()
binding.load_library_permanently(_PATH)  # so that compiled code finds it by the names of its functions
_embree = ctypes.CDLL(_PATH)
_POINTER, _SIZE, _NUMBER = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint
for _name, _result, _arguments in (
    ("rtcNewDevice", _POINTER, (ctypes.c_char_p,)),
    ("rtcGetDeviceError", ctypes.c_int, (_POINTER,)),
    ("rtcNewScene", _POINTER, (_POINTER,)),
    ("rtcSetSceneFlags", None, (_POINTER, ctypes.c_int)),
    ("rtcSetSceneBuildQuality", None, (_POINTER, ctypes.c_int)),
    ("rtcCommitScene", None, (_POINTER,)),
    ("rtcReleaseScene", None, (_POINTER,)),
    ("rtcNewGeometry", _POINTER, (_POINTER, ctypes.c_int)),
    ("rtcSetSharedGeometryBuffer", None, (_POINTER, _NUMBER, _NUMBER, _NUMBER, _POINTER, _SIZE, _SIZE, _SIZE)),
    ("rtcSetGeometryInstancedScene", None, (_POINTER, _POINTER)),
    ("rtcSetGeometryInstancedScenes", None, (_POINTER, _POINTER, _SIZE)),
    ("rtcCommitGeometry", None, (_POINTER,)),
    ("rtcAttachGeometry", _NUMBER, (_POINTER, _POINTER)),
    ("rtcReleaseGeometry", None, (_POINTER,)),
):
    getattr(_embree, _name).restype = _result
    getattr(_embree, _name).argtypes = _arguments


class Scene:
    """Something that rays can meet; made by `triangles` and `placed`.

    Attributes
    ----------
    handle:
        Address of Embree's scene, as `tracing` takes it.
    """

    def __init__(self, quick: bool) -> None:
        self.handle = int(_embree.rtcNewScene(_device(os.getpid())))
        self._kept: list[object] = []  # Embree reads these where they lie
        weakref.finalize(self, _embree.rtcReleaseScene, self.handle)
        _embree.rtcSetSceneFlags(self.handle, _ROBUST)
        _embree.rtcSetSceneBuildQuality(self.handle, _LOW if quick else _MEDIUM)

    @classmethod
    def triangles(cls, meshes: Sequence[tuple[NDArray[np.float32], NDArray[np.int32]]], quick: bool = False) -> Scene:
        """Meshes, numbered as they come.

        Parameters
        ----------
        meshes:
            (V, 3) vertices and (F, 3) faces of each.
        quick:
            To be built in two thirds of the time, for what is traced a few times.
        """
        scene = cls(quick)
        for vertices, faces in meshes:
            geometry = _embree.rtcNewGeometry(_device(os.getpid()), _TRIANGLES)
            padded = np.empty(vertices.size + 1, dtype=np.float32)  # Embree reads 16 bytes of the last vertex
            padded[:-1], padded[-1] = vertices.reshape(-1), 0
            scene._share(geometry, _VERTEX, _FLOAT3, padded, len(vertices))
            scene._share(geometry, _INDEX, _UINT3, np.ascontiguousarray(faces, dtype=np.int32), len(faces))
            scene._attach(geometry)
        return scene._built()

    @classmethod
    def placed(cls, still: Scene, scenes: Sequence[Scene], transforms: NDArray[np.floating]) -> Scene:
        """A scene that stays as it is, which gets the number 0, and others at their places, together the number 1.

        Parameters
        ----------
        transforms:
            (N, 3, 4) from each of the `scenes` to the new one.
        """
        scene = cls(quick=False)
        geometry = _embree.rtcNewGeometry(_device(os.getpid()), _INSTANCE)
        _embree.rtcSetGeometryInstancedScene(geometry, still.handle)
        scene._attach(geometry)
        if scenes:
            geometry = _embree.rtcNewGeometry(_device(os.getpid()), _INSTANCES)
            handles = np.array([one.handle for one in scenes], dtype=np.uintp)
            _embree.rtcSetGeometryInstancedScenes(geometry, handles.ctypes.data, len(handles))
            columns = np.ascontiguousarray(np.asarray(transforms).swapaxes(1, 2), dtype=np.float32)
            scene._share(geometry, _INDEX, _UINT, np.arange(len(scenes), dtype=np.uint32), len(scenes))
            scene._share(geometry, _TRANSFORM, _FLOAT3X4, columns, len(scenes))
            scene._attach(geometry)
            scene._kept += scenes
        scene._kept.append(still)
        return scene._built()

    def _share(self, geometry: int, kind: int, form: int, values: NDArray[np.generic], count: int) -> None:
        size = values.nbytes // max(count, 1) if kind != _VERTEX else 12
        _embree.rtcSetSharedGeometryBuffer(geometry, kind, 0, form, values.ctypes.data, 0, size, count)
        self._kept.append(values)

    def _attach(self, geometry: int) -> None:
        _embree.rtcCommitGeometry(geometry)
        _embree.rtcAttachGeometry(self.handle, geometry)
        _embree.rtcReleaseGeometry(geometry)

    def _built(self) -> Scene:
        _embree.rtcCommitScene(self.handle)
        error = _embree.rtcGetDeviceError(_device(os.getpid()))
        if error:
            raise RuntimeError(f"Embree could not build a scene: error {error} of RTCError")
        return self


@lru_cache(maxsize=1)
def _device(process: int) -> int:
    """Embree's device; a forked process needs its own.  One thread builds: cameras and processes share the others."""
    device = _embree.rtcNewDevice(b"threads=1")
    if not device:
        raise RuntimeError(f"Embree found no device: error {_embree.rtcGetDeviceError(None)} of RTCError")
    return int(device)
