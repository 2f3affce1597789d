"""Letters and digits of 3 x 5 cells, for shop signs and speed limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GLYPHS = {
    "A": "010101111101101",
    "B": "110101110101110",
    "C": "011100100100011",
    "D": "110101101101110",
    "E": "111100110100111",
    "F": "111100110100100",
    "G": "011100101101011",
    "H": "101101111101101",
    "I": "111010010010111",
    "K": "101101110101101",
    "L": "100100100100111",
    "M": "101111111101101",
    "N": "110101101101101",
    "O": "010101101101010",
    "P": "110101110100100",
    "R": "110101110101101",
    "S": "011100010001110",
    "T": "111010010010010",
    "U": "101101101101111",
    "V": "101101101101010",
    "W": "101101111111101",
    "Y": "101101010010010",
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "110001010100111",
    "3": "111001011001111",
    "4": "101101111001001",
    "5": "111100110001110",
    "6": "011100111101111",
    "7": "111001010010010",
    "8": "111101111101111",
    "9": "111101111001110",
    " ": "000000000000000",
    "&": "010101010101011",
}

SHOPS = (
    "CAFE",
    "BAKERY",
    "BOOKS",
    "PHARMACY",
    "BAR",
    "FLOWERS",
    "BIKES",
    "BANK",
    "HOTEL",
    "OPTICIAN",
    "SHOES",
    "FOOD & WINE",
    "TEA ROOM",
    "HARDWARE",
    "MUSIC",
    "TOYS",
    "BUTCHER",
    "GALLERY",
    "TRAVEL",
    "NOODLES",
    "PUB",
    "KIOSK",
)


def cells(text: str) -> NDArray[np.float64]:
    """(N, 4) rectangles u0, u1, v0, v1 that draw `text`: cells of size 1, characters 4 apart, from (0, 0) up to v = 5.

    Cells that touch in a row are one rectangle.
    """
    rectangles = []
    for place, character in enumerate(text):
        glyph = _GLYPHS[character]
        for row in range(5):
            line = glyph[row * 3 : row * 3 + 3]
            for begin, end in ((0, 3), (0, 2), (1, 3), (0, 1), (1, 2), (2, 3)):
                alone = (begin == 0 or line[begin - 1] == "0") and (end == 3 or line[end] == "0")
                if line[begin:end] == "1" * (end - begin) and alone:
                    rectangles.append((place * 4 + begin, place * 4 + end, 4 - row, 5 - row))
    return np.array(rectangles, dtype=np.float64).reshape(-1, 4)
