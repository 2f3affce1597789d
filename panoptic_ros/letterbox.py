"""The letterbox: how a frame lies in a network's input, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 8
"""The scaled frame and its margins are multiples of this: whole cells of a stride-4 or stride-8 map cover it."""

FILL = 128
"""What surrounds the frame: Darknet's 0.5 in bytes."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A frame scaled to fit a network's input, proportions kept, centred (Darknet's ``letterbox_image``).

    Pixel coordinates are continuous with edges on integers: ``x_input = x_frame * scale_x + left``.  The two scales
    differ only by the rounding of the scaled size to `ALIGNMENT` pixels.

    Attributes
    ----------
    frame_height, frame_width:
        Size of the frame, in pixels.
    height, width:
        Size of the scaled frame inside the network's input, in pixels, multiples of `ALIGNMENT`.
    top, left:
        Margins, in pixels of the network's input, multiples of `ALIGNMENT`.
    """

    frame_height: int
    frame_width: int
    height: int
    width: int
    top: int
    left: int

    @classmethod
    def fit(cls, frame_height: int, frame_width: int, input_height: int, input_width: int) -> Letterbox:
        """Place a frame in an input of the given size.

        Raises
        ------
        ValueError
            If the frame is empty or the input's size is not a positive multiple of `ALIGNMENT`.
        """
        if min(frame_height, frame_width) < 1:
            raise ValueError(f"a frame must have pixels, got {frame_width}x{frame_height}")
        if min(input_height, input_width) < 1 or input_height % ALIGNMENT or input_width % ALIGNMENT:
            raise ValueError(f"an input's size must be a multiple of {ALIGNMENT}, got {input_width}x{input_height}")
        scale = min(input_height / frame_height, input_width / frame_width)
        height = min(max(round(frame_height * scale / ALIGNMENT), 1) * ALIGNMENT, input_height)
        width = min(max(round(frame_width * scale / ALIGNMENT), 1) * ALIGNMENT, input_width)
        return cls(
            frame_height=frame_height,
            frame_width=frame_width,
            height=height,
            width=width,
            top=(input_height - height) // 2 // ALIGNMENT * ALIGNMENT,
            left=(input_width - width) // 2 // ALIGNMENT * ALIGNMENT,
        )

    @property
    def scale_x(self) -> float:
        return self.width / self.frame_width

    @property
    def scale_y(self) -> float:
        return self.height / self.frame_height

    def draw(self, frame: NDArray[np.uint8], into: NDArray[np.uint8]) -> None:
        """Scale `frame` (h, w, 3) into its place in `into` (H, W, 3) and fill what surrounds it."""
        bottom, right = self.top + self.height, self.left + self.width
        # Averaging the covered pixels avoids the aliasing that bilinear sampling has below half size.
        shrinks = self.scale_x < 0.5
        resized = cv2.resize(
            frame, (self.width, self.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        into[: self.top] = FILL
        into[bottom:] = FILL
        into[self.top : bottom, : self.left] = FILL
        into[self.top : bottom, right:] = FILL
        into[self.top : bottom, self.left : right] = resized
