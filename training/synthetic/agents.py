"""Who takes part in traffic: what they want, before it is known what they get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from panoptic_training.synthetic.motion import Path, Thing, Track
from panoptic_training.synthetic.street import Crossing
from panoptic_training.synthetic.turns import Turn

Maker = Callable[[Track, Track], list[Thing]]
"""Bodies that follow a track, and who looks at them."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Something that follows a line.

    Attributes
    ----------
    line:
        Index of a lane, or any other number that those share who follow each other.
    s, speed:
        Metres along the line of its middle, and metres per second, at the beginning.
    length:
        Metres.
    wish:
        Speed that it would like.
    edge:
        It keeps to the lane's edge, so that only those who are `wide` must stay behind it.
    wide:
        It needs the lane's whole width.
    headway, gap, pull, ease:
        Seconds and metres to who is ahead, greatest acceleration, comfortable deceleration.
    rests:
        (s, seconds) where its middle stops on its way, at a bus stop, and for how long; in the order of travel.
    turn:
        Where it leaves its lane for another, or None.
    """

    line: int
    s: float
    speed: float
    length: float
    wish: float
    edge: bool = False
    wide: bool = False
    headway: float = 1.2
    gap: float = 2.0
    pull: float = 1.6
    ease: float = 2.0
    rests: tuple[tuple[float, float], ...] = ()
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will become bodies once it is known where everybody goes."""

    agents: list[Agent] = field(default_factory=list)
    makers: list[Maker] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    def add(self, agent: Agent, path: Path, maker: Maker) -> None:
        self.agents.append(agent)
        self.paths.append(path)
        self.makers.append(maker)


@dataclass(frozen=True, slots=True)
class Crosser:
    """Somebody who wants to cross a road once.

    Attributes
    ----------
    crossing:
        Where.
    back:
        From the last of the crossing's points to the first.
    kerbs:
        Metres along its own path where the roadway begins and ends.
    length:
        Metres of its path.
    wish:
        Walking speed.
    ready:
        Time from which it wants to go.
    """

    crossing: Crossing
    back: bool
    kerbs: tuple[float, float]
    length: float
    wish: float
    ready: float
