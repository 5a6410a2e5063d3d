"""The simulated 12-joint hand: names and ranges of its joints, and its MJCF, made of primitive geometry.

Frame of the wrist: x towards the finger tips, z out of the palm, so that rotating the wrist by pi about x turns the
palm down. It is a right hand: the thumb is on the side of -y. Lengths are in m, angles in rad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

PITCH_RAD = 0.42  # angle of the fingers to the wrist's xy plane, towards the palm: down, above a table
WRIST_BODY = "wrist"
Point = tuple[float, float, float]


@dataclass(frozen=True)
class CameraPose:
    """Where a camera is (`eye_m`), which point it looks at, and which direction is up in its image."""

    eye_m: Point
    target_m: Point
    up: Point


@dataclass(frozen=True)
class Joint:
    """One position-controlled hinge.

    Attributes:
        lower_rad, upper_rad: its range, which contains all angles of recorded XHand episodes.
    """

    name: str
    lower_rad: float
    upper_rad: float


JOINTS = (
    Joint("thumb_bend", 0.0, 1.83),
    Joint("thumb_rota1", -0.6, 1.7),
    Joint("thumb_rota2", 0.0, 1.75),
    Joint("index_abduct", -0.3, 0.3),
    Joint("index_joint1", 0.0, 1.92),
    Joint("index_joint2", 0.0, 1.92),
    Joint("middle_joint1", 0.0, 1.92),
    Joint("middle_joint2", 0.0, 1.92),
    Joint("ring_joint1", 0.0, 1.92),
    Joint("ring_joint2", 0.0, 1.92),
    Joint("little_joint1", 0.0, 1.92),
    Joint("little_joint2", 0.0, 1.92),
)
OPEN_RAD = (0.8, 0.6, 0.05, 0.0, *(0.02,) * 8)
CLOSED_RAD = (1.2, 0.6, 0.6, 0.0, *(1.2, 1.3) * 4)

WRIST_LOWER_M, WRIST_UPPER_M = (0.10, -0.45, 0.05), (0.75, 0.40, 0.55)
WRIST_SPEED_M_S, WRIST_TURN_RAD_S = 0.5, 1.5
WRIST_LAG_S = 0.025

# Armature outweighs the links, so that all joints respond alike: critically damped at OMEGA, with a lag of 2 / OMEGA =
# 27 ms.
ARMATURE = 0.0006
OMEGA = 75.0
STIFFNESS = ARMATURE * OMEGA**2
DAMPING = 2 * ARMATURE * OMEGA
TORQUE_NM = 1.2
STOP_MARGIN_RAD = 0.01  # the mechanical stops are this far outside the ranges, which commands never leave

SKIN, SHELL, TIP, CUFF = "0.90 0.91 0.93 1", "0.16 0.17 0.20 1", "0.20 0.60 0.62 1", "0.82 0.84 0.87 1"
FINGERS = (  # name, base in the palm's frame, length of both links, radius
    ("index", (0.106, -0.0345, 0.0), (0.047, 0.039), 0.0095),
    ("middle", (0.110, -0.0115, 0.0), (0.052, 0.041), 0.0095),
    ("ring", (0.107, 0.0115, 0.0), (0.048, 0.039), 0.0095),
    ("little", (0.101, 0.0345, 0.0), (0.040, 0.034), 0.0085),
)
THUMB_BASE, THUMB_YAW_RAD = (0.040, -0.040, 0.012), -0.80
THUMB_LINKS, THUMB_RADIUS = (0.026, 0.042, 0.036), 0.0105
WRIST_CAMERA = CameraPose(eye_m=(0.0, -0.085, -0.01), target_m=(0.14, 0.0, 0.05), up=(0.0, 0.0, -1.0))
WRIST_FIELD_OF_VIEW_DEG = 70.0


def hand_body() -> str:
    """The wrist as a mocap body with the whole hand as its child, for `<worldbody>`."""
    fingers = "".join(_finger(*finger) for finger in FINGERS)
    return f"""
<body name="{WRIST_BODY}" mocap="true" pos="0.35 0 0.35" quat="0 1 0 0">
  <geom class="hand" type="capsule" size="0.034" fromto="-0.012 0 -0.012 -0.13 0 -0.12" rgba="{CUFF}"/>
  <geom class="hand" type="sphere" size="0.030" pos="0 0 0" rgba="{SHELL}"/>
  <body name="palm" euler="0 {-PITCH_RAD} 0">
    <geom class="hand" type="box" size="0.040 0.044 0.013" pos="0.064 0 0" rgba="{SKIN}"/>
    <geom class="hand" type="box" size="0.034 0.036 0.003" pos="0.064 0.002 0.0145" rgba="{SHELL}"/>
    <geom class="hand" type="box" size="0.014 0.028 0.012" pos="0.014 0 0" rgba="{SHELL}"/>
    {camera_xml("wrist", WRIST_CAMERA, field_of_view_deg=WRIST_FIELD_OF_VIEW_DEG)}
    {_thumb()}{fingers}
  </body>
</body>"""


def _link(length: float, radius: float, colour: str) -> str:
    return f'<geom class="hand" type="capsule" size="{radius}" fromto="0 0 0 {length} 0 0" rgba="{colour}"/>'


def _knuckle(radius: float) -> str:
    return f'<geom class="hand" type="sphere" size="{radius * 1.12}" rgba="{SHELL}"/>'


def _joint(name: str, axis: str) -> str:
    joint = next(joint for joint in JOINTS if joint.name == name)
    stops = f"{joint.lower_rad - STOP_MARGIN_RAD} {joint.upper_rad + STOP_MARGIN_RAD}"
    return f'<joint class="hand" name="{name}" axis="{axis}" range="{stops}"/>'


def _finger(
    name: str, base: Point, lengths: tuple[float, float], radius: float
) -> str:  # Flexion turns the finger's x towards the palm's z.
    first, second = lengths
    abduct = _joint(f"{name}_abduct", "0 0 1") if name == "index" else ""
    return f"""
    <body name="{name}" pos="{base[0]} {base[1]} {base[2]}" gravcomp="1">
      {abduct}{_joint(f"{name}_joint1", "0 -1 0")}{_knuckle(radius)}{_link(first, radius, SKIN)}
      <body name="{name}_tip" pos="{first} 0 0" gravcomp="1">
        {_joint(f"{name}_joint2", "0 -1 0")}{_knuckle(radius)}{_link(second, radius * 0.92, TIP)}
      </body>
    </body>"""


def _thumb() -> str:
    """The bend joint turns the thumb under the palm; the two other joints curl it across."""
    first, second, third = THUMB_LINKS
    yaw = f"{math.cos(THUMB_YAW_RAD / 2)} 0 0 {math.sin(THUMB_YAW_RAD / 2)}"
    x, y, z = THUMB_BASE
    return f"""
    <body name="thumb_base" pos="{x} {y} {z}" gravcomp="1">
      {_joint("thumb_bend", "-1 0 0")}
      <body name="thumb_root" quat="{yaw}" gravcomp="1">
        {_knuckle(THUMB_RADIUS)}{_link(first, THUMB_RADIUS * 1.1, SKIN)}
        <body name="thumb" pos="{first} 0 0" gravcomp="1">
          {_joint("thumb_rota1", "0 -1 0")}{_knuckle(THUMB_RADIUS)}{_link(second, THUMB_RADIUS, SKIN)}
          <body name="thumb_tip" pos="{second} 0 0" gravcomp="1">
            {_joint("thumb_rota2", "0 -1 0")}{_knuckle(THUMB_RADIUS)}{_link(third, THUMB_RADIUS * 0.95, TIP)}
          </body>
        </body>
      </body>
    </body>"""


def hand_defaults() -> str:
    """The class `hand` of all its joints, geoms and actuators, for `<default>`."""
    return f"""
<default class="hand">
  <joint type="hinge" armature="{ARMATURE}" limited="true"/>
  <geom contype="1" conaffinity="0" density="500" friction="0.9"/>
  <position kp="{STIFFNESS}" kv="{DAMPING}" forcerange="{-TORQUE_NM} {TORQUE_NM}"/>
</default>"""


def hand_actuators() -> str:
    """One position actuator per joint, in the order of JOINTS, for `<actuator>`."""
    return "".join(
        f'<position class="hand" name="{joint.name}" joint="{joint.name}" '
        f'ctrlrange="{joint.lower_rad} {joint.upper_rad}"/>'
        for joint in JOINTS
    )


def camera_xml(name: str, pose: CameraPose, *, field_of_view_deg: float) -> str:
    """A camera; in its frame, x points right and y up in the image, and it looks along -z."""
    x, y, z = pose.eye_m
    axes = " ".join(f"{value:.6f}" for axis in camera_axes(pose.eye_m, pose.target_m, pose.up) for value in axis)
    return f'<camera name="{name}" pos="{x} {y} {z}" xyaxes="{axes}" fovy="{field_of_view_deg}"/>'


def camera_axes(eye: ArrayLike, target: ArrayLike, up: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(3,) and (3,): directions in the world of the image's x axis, to the right, and its y axis, upwards."""
    forward = np.subtract(target, eye)
    right = np.cross(forward / np.linalg.norm(forward), up)
    right /= np.linalg.norm(right)
    return right, np.cross(right, forward / np.linalg.norm(forward))
