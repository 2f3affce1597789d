"""Kinds of weather, and how often which comes: the light and air of domain randomisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from panoptic_training.synthetic.scene import Weather

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of weather ranges over, each value drawn evenly.

    Attributes
    ----------
    sun_elevation:
        Radians above the horizon.
    cloudiness:
        0 to 1.
    fog:
        Exponents of ten of the extinction per metre.
    wet:
        Share of it with a wet road, whose wetness is `wetness`.
    """

    sun_elevation: Range
    cloudiness: Range
    fog: Range
    wet: float = 0.0
    wetness: Range = (0.35, 1.0)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "clear": Kind((0.35, 1.05), (0.05, 0.5), (-4.0, -3.1), wet=0.12),
        "overcast": Kind((0.3, 1.0), (0.75, 1.0), (-3.7, -2.9), wet=0.3),
        "low_sun": Kind((0.12, 0.3), (0.05, 0.4), (-4.0, -3.1), wet=0.12),
        "dusk": Kind((-0.07, 0.12), (0.1, 0.8), (-3.7, -2.9), wet=0.25),
        "rain": Kind((0.25, 0.8), (0.85, 1.0), (-2.9, -2.3), wet=1.0, wetness=(0.7, 1.0)),
        "fog": Kind((0.15, 0.7), (0.7, 1.0), (-2.3, -1.65), wet=0.35),
    }
)
"""By name."""

RANDOM: Mapping[str, float] = MappingProxyType(
    {"clear": 0.35, "overcast": 0.25, "low_sun": 0.1, "dusk": 0.12, "rain": 0.1, "fog": 0.08}
)
"""The shares of ``random``: a year's weather, with more of what is rare and hard."""


def weather_shares(words: Sequence[str]) -> dict[str, float]:
    """The shares, which sum to 1, that words like ``clear``, ``fog=0.2`` and ``random`` ask for.

    Parameters
    ----------
    words:
        Kinds of weather, each with how often it comes beside the others; once if nothing is said.

    Raises
    ------
    ValueError
        If a kind is unknown or comes twice, a share is no number of at least 0, or all are 0.
    """
    if list(words) == ["random"]:
        return dict(RANDOM)
    asked: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in KINDS:
            raise ValueError(
                f"expected random, or some of {', '.join(KINDS)}, each with its share, as in fog=0.2; got {word!r}"
            )
        if name in asked:
            raise ValueError(f"{name} is there twice")
        try:
            share = float(number) if "=" in word else 1.0
        except ValueError:
            share = math.nan
        if not (math.isfinite(share) and share >= 0):
            raise ValueError(f"expected a share of at least 0 after {name}=, got {number!r}")
        asked[name] = share
    if not sum(asked.values()) > 0:
        raise ValueError(f"expected some share above 0, got {' '.join(words) or 'nothing'}")
    return {name: asked[name] / sum(asked.values()) for name in KINDS if asked.get(name)}


def random_weather(rng: np.random.Generator, shares: Mapping[str, float] = RANDOM) -> Weather:
    """Weather as it comes.

    Parameters
    ----------
    shares:
        How often which of `KINDS` comes; they sum to 1.
    """
    names = list(shares)
    kind = KINDS[names[int(rng.choice(len(names), p=list(shares.values())))]]
    return Weather(
        sun_elevation=float(rng.uniform(*kind.sun_elevation)),
        sun_azimuth=float(rng.uniform(-np.pi, np.pi)),
        cloudiness=float(rng.uniform(*kind.cloudiness)),
        fog=float(10 ** rng.uniform(*kind.fog)),
        wetness=float(rng.uniform(*kind.wetness)) if rng.random() < kind.wet else 0.0,
        seed=int(rng.integers(1 << 31)),
    )
