"""A skeleton: where the bones of somebody are who stands, walks, or reaches for pedals and handlebars.

In `walking` the feet are planted: while a foot is on the ground it stays where it is in the world, whatever the speed,
and the leg follows by inverse kinematics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from math import cos, sin, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import compiled, inlined

Array = NDArray[np.float64]


class Bone(IntEnum):
    """Bones; those of the left side are even, of the right side follow them."""

    PELVIS = 0
    CHEST = 1
    HEAD = 2
    THIGH = 4
    SHIN = 6
    FOOT = 8
    UPPER_ARM = 10
    FOREARM = 12
    TOE = 14


BONES = 16
_PELVIS, _CHEST, _HEAD, _THIGH, _SHIN, _FOOT, _UPPER_ARM, _FOREARM, _TOE = (int(bone) for bone in Bone)


@dataclass(frozen=True)
class Build:
    """Lengths of an upright body in metres."""

    height: float
    girth: float  # of the trunk, 1 is slender

    @property
    def ankle(self) -> float:
        return 0.045 * self.height

    @property
    def knee(self) -> float:
        return 0.275 * self.height

    @property
    def hip(self) -> float:
        return 0.515 * self.height

    @property
    def waist(self) -> float:
        return 0.6 * self.height

    @property
    def shoulder(self) -> float:
        return 0.81 * self.height

    @property
    def neck(self) -> float:
        return 0.85 * self.height

    @property
    def hip_half(self) -> float:
        return 0.05 * self.height

    @property
    def shoulder_half(self) -> float:
        return 0.107 * self.height * (0.9 + 0.1 * self.girth)

    @property
    def upper_arm(self) -> float:
        return 0.165 * self.height

    @property
    def forearm(self) -> float:
        return 0.15 * self.height

    @property
    def heel(self) -> float:
        return 0.04 * self.height  # behind the ankle

    @property
    def ball(self) -> float:
        return 0.075 * self.height  # ahead of the ankle


@dataclass(frozen=True)
class Stance:
    """Where each bone is: rotation (BONES, 3, 3) and place of its upper joint (BONES, 3)."""

    rotations: Array
    joints: Array


@lru_cache(maxsize=1024)
def rest_joints(build: Build) -> Array:
    """(BONES, 3) upper joints of the bones of somebody who stands upright."""
    joints = np.zeros((BONES, 3))
    joints[Bone.PELVIS] = 0, 0, build.hip
    joints[Bone.CHEST] = 0, 0, build.waist
    joints[Bone.HEAD] = 0, 0, build.neck
    for side, sign in ((0, 1.0), (1, -1.0)):
        hip, shoulder = sign * build.hip_half, sign * build.shoulder_half
        joints[Bone.THIGH + side] = 0, hip, build.hip
        joints[Bone.SHIN + side] = 0, hip, build.knee
        joints[Bone.FOOT + side] = 0, hip, 0  # its frame's origin is on the sole below the ankle
        joints[Bone.TOE + side] = build.ball, hip, 0
        joints[Bone.UPPER_ARM + side] = 0, shoulder, build.shoulder
        joints[Bone.FOREARM + side] = 0, shoulder, build.shoulder - build.upper_arm
    return joints


@compiled
def turn(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Array:
    """(3, 3) rotation: roll about x, then pitch about y (positive looks down), then yaw about z; radians."""
    cp, sp, cy, sy, cr, sr = cos(pitch), sin(pitch), cos(yaw), sin(yaw), cos(roll), sin(roll)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


@compiled
def aim(direction: Array, forward: Array) -> Array:
    """(3, 3) rotation of a bone that hangs down at rest to a direction; its front keeps towards `forward`."""
    up = _unit(-direction)
    left = _unit(_cross(up, forward))
    front = _cross(left, up)
    rotation = np.empty((3, 3))
    rotation[:, 0], rotation[:, 1], rotation[:, 2] = front, left, up
    return rotation


@compiled
def bend(root: Array, target: Array, upper: float, lower: float, pole: Array) -> tuple[Array, Array]:
    """Middle joint and end of two bones from `root` that reach for `target` (or as near as they can).

    The joint bends towards `pole`.
    """
    way = target - root
    distance = sqrt(_dot(way, way))
    direction = way / distance
    distance = min(max(distance, abs(upper - lower) + 1e-3), (upper + lower) * 0.9995)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    side = _unit(pole - _dot(pole, direction) * direction)
    joint = root + along * direction + sqrt(max(upper**2 - along**2, 0.0)) * side
    return joint, root + distance * direction


@inlined
def _dot(first: Array, second: Array) -> float:
    return float(first[0] * second[0] + first[1] * second[1] + first[2] * second[2])


@inlined
def _unit(vector: Array) -> Array:
    return vector / sqrt(_dot(vector, vector))


@inlined
def _cross(first: Array, second: Array) -> Array:
    (ax, ay, az), (bx, by, bz) = first, second
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


@inlined
def _turned(rotation: Array, vector: Array) -> Array:
    return np.array([_dot(rotation[0], vector), _dot(rotation[1], vector), _dot(rotation[2], vector)])


def stance(
    build: Build,
    pelvis: tuple[Array, Array],
    chest: Array,
    head: Array,
    feet: list[tuple[Array, float]],
    arms: list[tuple[Array, Array]] | None = None,
    hands: list[Array] | None = None,
) -> Stance:
    """Solve the limbs.

    Parameters
    ----------
    pelvis:
        Rotation (3, 3) and place (3,) of the hips' middle.
    chest, head:
        (3, 3) rotations.
    feet:
        Left and right: where the sole below the ankle is, and the foot's pitch in radians (positive: heel up).
    arms:
        Left and right: directions of upper arm and forearm; or else
    hands:
        where the wrists are.
    """
    rotations, joints = np.empty((BONES, 3, 3)), np.zeros((BONES, 3))
    rotations[3] = np.eye(3)
    rotations[Bone.PELVIS], joints[Bone.PELVIS] = pelvis
    rotations[Bone.CHEST], rotations[Bone.HEAD] = chest, head
    wrists = np.zeros((2, 3)) if hands is None else np.array(hands)
    directions = np.zeros((2, 2, 3)) if arms is None else np.array(arms)
    (left, left_pitch), (right, right_pitch) = feet
    pitches = np.array([left_pitch, right_pitch])
    _solve(
        rotations, joints, _lengths(build), rest_joints(build), left, right, pitches, directions, wrists, arms is None
    )
    return Stance(rotations, joints)


@lru_cache(maxsize=1024)
def _lengths(build: Build) -> tuple[float, ...]:
    """Of thigh, shin, ankle, ball of the foot, upper arm and forearm."""
    thigh, shin = build.hip - build.knee, build.knee - build.ankle
    return thigh, shin, build.ankle, build.ball, build.upper_arm, build.forearm


@compiled
def _solve(
    rotations: Any,
    joints: Any,
    lengths: Any,
    rest: Any,
    left: Any,
    right: Any,
    pitches: Any,
    directions: Any,
    wrists: Any,
    reaching: bool,
) -> None:
    """Fill in all bones but those of the trunk, whose rotations are given, as is where the pelvis is."""
    thigh, shin, ankle_height, ball_ahead, upper_arm, forearm = lengths
    pelvis, chest = rotations[_PELVIS], rotations[_CHEST]
    joints[_CHEST] = joints[_PELVIS] + _turned(pelvis, rest[_CHEST] - rest[_PELVIS])
    joints[_HEAD] = joints[_CHEST] + _turned(chest, rest[_HEAD] - rest[_CHEST])
    forward, front = pelvis[:, 0].copy(), chest[:, 0] - 0.2 * chest[:, 2]
    for side in range(2):
        hip = joints[_PELVIS] + _turned(pelvis, rest[_THIGH + side] - rest[_PELVIS])
        sole, foot = left if side == 0 else right, turn(pitches[side], 0.0, 0.0)
        ankle = sole + foot[:, 2] * ankle_height
        knee, reached = bend(hip, ankle, thigh, shin, forward + np.array([0.0, 0.0, 0.05]))
        rotations[_THIGH + side], joints[_THIGH + side] = aim(knee - hip, forward), hip
        rotations[_SHIN + side], joints[_SHIN + side] = aim(reached - knee, forward), knee
        rotations[_FOOT + side], joints[_FOOT + side] = foot, sole + (reached - ankle)
        ball = joints[_FOOT + side] + foot[:, 0] * ball_ahead
        # toes stay flat on the ground while the heel rises
        lifted = min(max(ball[2] / 0.08, 0.0), 1.0) if pitches[side] > 0 else 1.0
        rotations[_TOE + side], joints[_TOE + side] = turn(pitches[side] * lifted, 0.0, 0.0), ball
        shoulder = joints[_CHEST] + _turned(chest, rest[_UPPER_ARM + side] - rest[_CHEST])
        if reaching:
            outwards = np.array([-0.3, 0.5 if side == 0 else -0.5, -0.8])
            elbow, wrist = bend(shoulder, wrists[side], upper_arm, forearm, outwards)
            upper, lower = elbow - shoulder, wrist - elbow
        else:
            upper, lower = directions[side, 0], directions[side, 1]
            elbow = shoulder + upper_arm * _unit(upper)
        rotations[_UPPER_ARM + side], joints[_UPPER_ARM + side] = aim(upper, front), shoulder
        rotations[_FOREARM + side] = aim(lower, front + np.array([0.0, 0.0, 0.3]))
        joints[_FOREARM + side] = elbow


def stride_length(build: Build) -> float:
    """Metres of two steps at an easy pace."""
    return 0.76 * build.height


def walking(build: Build, distance: float, vigour: float = 1.0) -> Stance:
    """Somebody after `distance` metres of walking along x.

    Parameters
    ----------
    vigour:
        0 stands still, 1 walks; between them legs and arms swing less.
    """
    stride = stride_length(build)
    cycle = distance / stride
    on_ground = 0.62  # part of the cycle that each foot is on the ground
    feet: list[tuple[Array, float]] = []
    lowest = build.hip
    for side, sign in ((0, 1.0), (1, -1.0)):
        phase = (cycle + 0.5 * side) % 1.0
        sole, pitch = _foot(build, phase, on_ground, stride)
        place = np.array([vigour * sole[0], sign * build.hip_half * 0.75, vigour * sole[1]])
        feet.append((place, vigour * pitch))
        # hips as high as the legs allow
        ankle = place + turn(vigour * pitch) @ np.array([0.0, 0.0, build.ankle])
        reach = 0.997 * (build.hip - build.ankle)
        lowest = min(lowest, float(ankle[2] + np.sqrt(reach**2 - min(abs(ankle[0]), 0.9 * reach) ** 2)))
    swing = np.cos(2 * np.pi * (cycle - 0.04))  # of the left leg, ahead at phase 0
    mean = build.hip * (1 - 0.028 * vigour)
    height = min(
        lowest,
        mean + 0.008 * build.height * vigour * (1 - np.cos(4 * np.pi * cycle)) / 2 + 0.028 * build.hip * (1 - vigour),
    )
    pelvis = turn(0.0, -0.09 * vigour * swing), np.array([0.0, 0.0, height])
    chest = turn(0.05, 0.12 * vigour * swing)
    arms = []
    for sign in (1.0, -1.0):
        angle = -sign * 0.38 * vigour * swing  # against the leg
        upper = np.array([np.sin(angle - 0.08), sign * 0.13, -np.cos(angle)])
        flexed = angle + 0.2 + 0.25 * vigour * max(np.sin(angle), -0.3)
        arms.append((upper, np.array([np.sin(flexed), sign * 0.02, -np.cos(flexed)])))
    return stance(build, pelvis, chest, turn(0.0), feet, arms)


def standing(build: Build, kind: int, time: float = 0.0) -> Stance:
    """Somebody who waits: arms down, hands before the body, a phone, or arms crossed; swaying a little."""
    sway = 0.012 * np.sin(0.9 * time + kind)
    half = build.hip_half
    feet = [(np.array([0.02, half * 1.25, 0.0]), 0.0), (np.array([-0.03, -half * 1.15, 0.0]), 0.0)]
    pelvis = turn(0.0, 0.04, 0.0), np.array([0.0, sway, build.hip * 0.985])
    chest = turn(0.03 + 0.01 * np.sin(1.6 * time), -0.03)
    look = turn(0.35 if kind == 2 else 0.03, 0.3 * np.sin(0.35 * time + 2 * kind))
    down = [(np.array([-0.05, sign * 0.14, -1.0]), np.array([0.18, sign * 0.02, -1.0])) for sign in (1.0, -1.0)]
    if kind == 1:
        down = [(np.array([-0.02, sign * 0.2, -1.0]), np.array([0.55, -sign * 0.5, -0.75])) for sign in (1.0, -1.0)]
    elif kind == 2:
        down[1] = np.array([0.15, -0.15, -1.0]), np.array([0.75, 0.35, 0.45])
    elif kind == 3:
        down = [(np.array([0.15, sign * 0.25, -1.0]), np.array([0.6, -sign * 0.85, 0.02])) for sign in (1.0, -1.0)]
    return stance(build, pelvis, chest, look, feet, down)


def _foot(build: Build, phase: float, on_ground: float, stride: float) -> tuple[tuple[float, float], float]:
    """Sole (x, z) below the ankle and pitch of a foot at a phase of the walking cycle; 0 is when its heel lands."""
    flat, lift = 0.1, 0.4  # of the cycle: when the whole foot is down, and when the heel leaves the ground
    ahead = on_ground * stride / 2 - 0.02 * build.height
    land, push = -0.3, 0.85

    def planted(phase: float) -> tuple[tuple[float, float], float]:
        x = ahead - phase * stride
        if phase < flat:  # pivots on the heel
            pitch, pivot = land * (1 - phase / flat) ** 2, -build.heel
        elif phase > lift:  # pivots on the ball
            pitch, pivot = push * ((phase - lift) / (on_ground - lift)) ** 2, build.ball
        else:
            pitch, pivot = 0.0, 0.0
        return (x + pivot * (1 - np.cos(pitch)), pivot * np.sin(pitch)), pitch

    if phase <= on_ground:
        return planted(phase)
    (x0, z0), pitch0 = planted(on_ground)
    (x1, z1), pitch1 = planted(0.0)
    u = (phase - on_ground) / (1 - on_ground)
    # leaves and lands with the ground's speed, so the foot does not jerk (Hermite's cubic)
    slope = -stride * (1 - on_ground)
    h = u * u * (3 - 2 * u)
    x = x0 + h * (x1 - x0) + slope * (u * (1 - u) ** 2 - u * u * (1 - u))
    z = z0 + h * (z1 - z0) + 0.05 * build.height * np.sin(np.pi * u) ** 2 * (1 - 0.5 * u)
    pitch = pitch0 + h * (pitch1 - pitch0) + 0.25 * np.sin(np.pi * u)
    return (float(x), float(max(z, 0.0))), float(pitch)
