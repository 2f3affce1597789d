"""The overlay: a frame with its panoptic segmentation drawn over it, for people to look at.

Classes are a colour wash over the frame and void stays as the camera saw it; every thing has a light outline with a
dark halo, which shows on any background and parts instances of one class; a thing large enough to be looked for has
its name and score beside it, and a large region of stuff its name.  Nothing here depends on the numbers of the
instances, so that a video does not flicker while the numbers change from frame to frame.

Every step works on the whole frame at once or inside the window around the things; the times are in
``benchmarks/drawing.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation, Segment

Image = NDArray[np.uint8]
Coverage = NDArray[np.float32]
Color = tuple[int, int, int]
Box = tuple[int, int, int, int]

HALO: Color = (24, 24, 24)
PLATE: Color = (32, 32, 32)
NAME_INK: Color = (255, 255, 255)
SCORE_INK: Color = (190, 190, 190)

MIN_NAMED_STUFF = 0.01
"""The share of the frame from which a region of stuff may have its name written in it."""


class OverlayPainter:
    """Draws overlays; keeps buffers and lettering between frames, so one painter serves one camera.

    Parameters
    ----------
    labels:
        Names and colours of the classes.
    opacity:
        Weight of a class's colour against the camera's image, 0 to 1.
    scores:
        Write scores beside the names; a truth has none that mean anything.

    Raises
    ------
    ValueError
        If `opacity` is not in [0, 1].
    """

    def __init__(self, labels: LabelSet, opacity: float = 0.5, scores: bool = True) -> None:
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity must be in [0, 1], got {opacity}")
        self._labels = labels
        self._opacity = opacity
        self._scores = scores
        self._fills = np.ascontiguousarray(labels.colors[:, None, ::-1])  # (256, 1, 3) B, G, R, as applyColorMap wants
        # Halfway to white: any class's outline is lighter than what it surrounds, and still tells the class.
        self._inks = self._fills // 3 + 170
        self._inks[0] = HALO
        self._classes = np.empty((0, 0), dtype=np.uint8)
        self._wash = np.empty((0, 0, 3), dtype=np.uint8)
        self._lettering = _Lettering(12)

    def __call__(self, frame: Image, segmentation: PanopticSegmentation) -> Image:
        """Draw one overlay.

        Parameters
        ----------
        frame:
            (H, W, 3) uint8, B, G, R; it is not changed.
        segmentation:
            The segmentation of this frame.

        Returns
        -------
        (H, W, 3) uint8, B, G, R, a new array.

        Raises
        ------
        ValueError
            If `frame` is not a colour image of bytes, or not of the segmentation's size.
        """
        size = segmentation.ids.shape
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"frame must be a (H, W, 3) uint8 array, got {frame.shape} {frame.dtype}")
        if frame.shape[:2] != size:
            raise ValueError(f"frame is {_size(frame)} pixels, but the segmentation is {_size(segmentation.ids)}")
        if self._classes.shape != size:
            self._classes = np.empty(size, dtype=np.uint8)
            self._wash = np.empty((*size, 3), dtype=np.uint8)
            self._lettering = _Lettering(max(8, round(size[0] / 72)))
        overlay = self._blend(frame, segmentation)
        self._outline(overlay, segmentation)
        self._caption(overlay, segmentation)
        return overlay

    def _blend(self, frame: Image, segmentation: PanopticSegmentation) -> Image:
        # round(id / 1000 - 0.4995) is id // 1000 for every id up to 255999, in one pass that ends in bytes.
        cv2.convertScaleAbs(segmentation.ids, self._classes, 1 / INSTANCE_DIVISOR, 0.5 / INSTANCE_DIVISOR - 0.5)
        cv2.applyColorMap(self._classes, self._fills, self._wash)
        overlay = np.empty_like(self._wash)
        cv2.addWeighted(frame, 1 - self._opacity, self._wash, self._opacity, 0, overlay)
        if sum(segment.area for segment in segmentation.segments) < segmentation.ids.size:
            cv2.copyTo(frame, cv2.inRange(self._classes, 0, 0), overlay)
        return overlay

    def _outline(self, overlay: Image, segmentation: PanopticSegmentation) -> None:
        things = segmentation.things
        if not things:
            return
        height, width = segmentation.ids.shape
        line, halo = max(1, round(height / 360)), max(1, round(height / 720))
        boxes = np.array([thing.bbox for thing in things])
        (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        window = np.s_[max(0, y0 - halo) : min(height, y1 + halo), max(0, x0 - halo) : min(width, x1 + halo)]
        ids, classes = segmentation.ids[window], self._classes[window]
        is_thing = np.zeros(256, dtype=np.uint8)
        is_thing[[thing.class_id for thing in things]] = 255
        inside = cv2.LUT(classes, is_thing)
        lines = cv2.bitwise_and(cv2.dilate(_edges(ids), _square(line - 1)), inside)
        halos = cv2.bitwise_xor(cv2.dilate(inside, _square(halo)), inside)
        # Outside things the class is masked to 0, whose ink is the halo's: lines and halos are painted in one pass.
        ink = cv2.applyColorMap(cv2.bitwise_and(classes, inside), self._inks)
        cv2.copyTo(ink, cv2.bitwise_or(lines, halos), overlay[window])

    def _caption(self, overlay: Image, segmentation: PanopticSegmentation) -> None:
        height, width = overlay.shape[:2]
        taken = np.zeros((height, width), dtype=bool)
        for thing in sorted(segmentation.things, key=lambda segment: -segment.area):
            blue, green, red = self._inks[thing.class_id, 0].tolist()
            score = thing.score if self._scores else None
            caption = self._lettering.caption(self._labels.name_of(thing.class_id), score, (blue, green, red))
            high, wide = caption.shape[:2]
            # A thing much smaller than its caption goes without, or a crowd would become a wall of text.
            if thing.area < high * wide / 2 or high > height or wide > width:
                continue
            for x, y in _places(thing.bbox, wide, high, width, height):
                window = np.s_[y : y + high, x : x + wide]
                if not taken[window].any():
                    taken[window] = True
                    overlay[window] = caption
                    break
        for segment in segmentation.segments:
            if not segment.is_thing and segment.area >= MIN_NAMED_STUFF * height * width:
                self._name_stuff(overlay, segment, taken)

    def _name_stuff(self, overlay: Image, stuff: Segment, taken: NDArray[np.bool_]) -> None:
        """Write the name of stuff in the middle of its roomiest part, if it fits in there beside the captions."""
        letters, shade = self._lettering.name(self._labels.name_of(stuff.class_id))
        high, wide = letters.shape[:2]
        step = max(1, high // 2)  # a coarse view is enough to find the place
        region = cv2.inRange(self._classes[::step, ::step], stuff.class_id, stuff.class_id)
        room = cv2.distanceTransform(cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
        _, radius, _, (column, row) = cv2.minMaxLoc(room)
        x, y = (column - 1) * step - wide // 2, (row - 1) * step - high // 2
        if radius * step < 0.6 * wide or x < 0 or y < 0:
            return
        window = np.s_[y : y + high, x : x + wide]
        target = overlay[window]
        if target.shape[:2] == (high, wide) and not taken[window].any():
            target[:] = target * shade + letters


class _Lettering:
    """The captions' words and numbers as bitmaps of one size, each drawn once.

    Parameters
    ----------
    cap:
        Height of a capital letter in pixels.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._pad = max(2, round(cap * 0.4))
        self.name = cache(self._draw_name)
        self._plate = cache(self._draw_plate)

    def caption(self, name: str, score: float | None, ink: Color) -> Image:
        """(h, w, 3) uint8, a dark plate with a stripe of the outline's colour, the name and any score."""
        plate = self._plate(name, NAME_INK, ink)
        return plate if score is None else np.hstack((plate, self._plate(f"{score:.2f}", SCORE_INK, None)))

    def _draw_plate(self, text: str, color: Color, stripe: Color | None) -> Image:
        coverage = self._draw(text, 0 if stripe is None else 2 * self._pad, self._pad)
        plate: Image = np.rint(coverage * color + (1 - coverage) * PLATE).astype(np.uint8)
        if stripe is not None:
            plate[:, : self._pad] = stripe
        return plate

    def _draw_name(self, text: str) -> tuple[Coverage, Coverage]:
        """What to add to a picture and, before that, to multiply it by, (h, w, 1) both: white on a soft shadow."""
        coverage = self._draw(text, self._pad, self._pad)
        shadow = cv2.GaussianBlur(coverage, (0, 0), self._cap * 0.15)[..., None]
        return 255 * coverage, (1 - coverage) * (1 - np.minimum(shadow, np.float32(0.7)))

    def _draw(self, text: str, left: int, right: int) -> Coverage:
        """(h, w, 1) coverage in [0, 1]; drawn four times as large and averaged, so that small strokes stay even."""
        zoom = 4
        cap, high = self._cap * zoom, self._cap + 2 * self._pad
        thickness = round(cap * 0.14)
        scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, cap, thickness)
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        wide = -(-width // zoom) + left + right
        canvas = np.zeros((high * zoom, wide * zoom), dtype=np.uint8)
        origin = (left * zoom, self._pad * zoom + cap)
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
        coverage = cv2.resize(canvas, (wide, high), interpolation=cv2.INTER_AREA)
        return np.divide(coverage[..., None], 255, dtype=np.float32)


def _edges(ids: NDArray[np.int32]) -> Image:
    """(H, W) uint8, 255 where one of a pixel's four neighbours has another id."""
    edges = np.zeros(ids.shape, dtype=np.uint8)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        if not ids[here].size:  # a single row or column has no neighbours there
            continue
        differs = np.asarray(cv2.compare(ids[here], ids[there], cv2.CMP_NE), dtype=np.uint8)
        edges[here] |= differs
        edges[there] |= differs
    return edges


def _size(image: NDArray[np.generic]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _square(radius: int) -> Image:
    return np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)


def _places(box: Box, wide: int, high: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Where a caption may lie, best first, always inside the frame: above its box, in it, and below it."""
    x0, y0, x1, y1 = box
    x = min(max(0, (x0 + x1 - wide) // 2), width - wide)
    for y in (y0 - high - 2, y0 + 2, y1 + 2, y1 - high - 2):
        yield x, min(max(0, y), height - high)
