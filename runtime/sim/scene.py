"""The MJCF of a world's scene: hand, plate, buttons, light and cameras.

The MJCF has the nominal layout; `apply_layout` moves its parts in place, so that a renderer is created only once. A
turning plate lies on a lamp that shows how it turns, because a policy sees one image, in which nothing moves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vpp_edge.runtime.sim.layout import COLOURS, NOMINAL, PLATE_CENTRE_M, TURNS_RAD_S, Layout
from vpp_edge.runtime.sim.model import CameraPose, camera_axes, camera_xml, hand_actuators, hand_body, hand_defaults
from vpp_edge.runtime.sim.view_names import POLICY_VIEWS
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, WorldKind
from vpp_edge.runtime.sim.worlds.turning import Plate

STEP_S = 0.002
FIELD_OF_VIEW_DEG = 42.0  # vertical, of a RealSense D435's colour camera
TOP = CameraPose(eye_m=(0.75, -0.05, 0.44), target_m=(0.425, -0.05, 0.075), up=(0.0, 0.0, 1.0))
SIDE = CameraPose(eye_m=(0.45, 0.42, 0.25), target_m=(0.39, -0.05, 0.085), up=(0.0, 0.0, 1.0))
CAMERAS = dict(zip(POLICY_VIEWS, (TOP, SIDE), strict=True))
SKY = "0.80 0.85 0.90"
LIGHT_DIRECTION = (-0.35, -0.25, -1.0)
PLATE_TOP_M = 0.006
TRAVEL_M = 0.010  # of a button
PLATE_RGBA = "0.36 0.40 0.44 1"
RGBA = {
    "red": "0.85 0.16 0.14 1",
    "green": "0.16 0.62 0.26 1",
    "blue": "0.14 0.34 0.82 1",
    "yellow": "0.95 0.78 0.12 1",
}
# A press of 10 mm takes 2 N: enough to resist a finger that brushes it, little enough for one finger.
BUTTON_STIFFNESS, BUTTON_DAMPING, BUTTON_KG = 160.0, 3.0, 0.02
HALF_BUTTON_M = 0.02  # most of a button is inside the plate
BUTTONS_NAMED = tuple(f"button_{i}" for i in range(len(COLOURS)))
ROUND_PLATE_M, LAMP_M = 0.092, 0.118  # radius of a turning plate, and of the lamp below it
# Colours of no button. The direction is the hue, and the speed is its saturation: light and shadow change neither.
LAMP_STILL, LAMP_LEFT, LAMP_RIGHT = (0.95, 0.95, 0.95), (0.05, 0.80, 0.85), (0.90, 0.10, 0.80)


def scene_xml(kind: WorldKind = BUTTONS) -> str:
    """MJCF of the scene, for `MjModel.from_xml_string`.

    Joints and actuators are in the order of `model.JOINTS`; the buttons' slides follow, in the order of the layout,
    with the depth of each in m.
    """
    cameras = "".join(camera_xml(name, pose, field_of_view_deg=FIELD_OF_VIEW_DEG) for name, pose in CAMERAS.items())
    light = " ".join(map(str, LIGHT_DIRECTION))
    return f"""
<mujoco model="hand over four buttons">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{STEP_S}" integrator="implicitfast" iterations="20"/>
  <size memory="4M"/>
  <statistic center="0.45 -0.05 0.1" extent="0.9"/>
  <visual>
    <headlight ambient="0.38 0.38 0.38" diffuse="0.20 0.20 0.20" specular="0 0 0"/>
    <map znear="0.02" zfar="4" shadowclip="1"/>
    <quality shadowsize="2048"/>
  </visual>
  <default>{hand_defaults()}
    <default class="thing">
      <geom contype="2" conaffinity="1"/>
      <default class="button">
        <joint type="slide" axis="0 0 -1" range="0 {TRAVEL_M}" stiffness="{BUTTON_STIFFNESS}"
               damping="{BUTTON_DAMPING}"/>
        <geom type="cylinder" size="{kind.button_radius_m} {HALF_BUTTON_M}" mass="{BUTTON_KG}"/>
      </default>
    </default>
  </default>
  <asset>
    <texture type="skybox" builtin="flat" rgb1="{SKY}" rgb2="{SKY}" width="16" height="96"/>
  </asset>
  <worldbody>
    <light directional="true" pos="0.86 0.24 1.2" dir="{light}" diffuse="0.45 0.45 0.45" specular="0 0 0"
           ambient="0 0 0" castshadow="true"/>
    {cameras}
    <geom name="table" class="thing" type="box" size="0.42 0.52 0.02" pos="0.48 -0.05 -0.02" rgba="0.78 0.71 0.60 1"/>
    {_round_plate() if kind.turns else _square_plate()}
  </worldbody>
  <actuator>{hand_actuators()}</actuator>
</mujoco>"""


def _square_plate() -> str:
    return f"""
    <geom name="plate" class="thing" type="box" size="0.11 0.11 0.003" pos="0.46 -0.05 0.003" rgba="{PLATE_RGBA}"/>
    {hand_body()}
    {"".join(_button(i) for i in range(len(COLOURS)))}"""


def _round_plate() -> str:
    """The plate turns as a mocap body with the buttons as its children."""
    x, y = PLATE_CENTRE_M
    return f"""
    <geom name="lamp" class="thing" type="cylinder" size="{LAMP_M} 0.002" pos="{x} {y} 0.002" rgba="1 1 1 1"/>
    {hand_body()}
    <body name="plate" mocap="true" pos="{x} {y} 0">
      <geom name="plate" class="thing" type="cylinder" size="{ROUND_PLATE_M} 0.003" pos="0 0 0.003"
            rgba="{PLATE_RGBA}"/>
      {"".join(_button(i) for i in range(len(COLOURS)))}
    </body>"""


def _button(i: int) -> str:
    x, y = NOMINAL.places_m[i]
    return f"""
    <body name="{BUTTONS_NAMED[i]}" pos="{x} {y} {_button_z(NOMINAL.heights_m[i])}" gravcomp="1">
      <joint class="button" name="{BUTTONS_NAMED[i]}"/>
      <geom class="button" name="{BUTTONS_NAMED[i]}" rgba="{RGBA[COLOURS[i]]}"/>
    </body>"""


def _button_z(height_m: float) -> float:
    return PLATE_TOP_M + height_m - HALF_BUTTON_M


def apply_layout(mujoco: Any, model: Any, layout: Layout) -> None:
    """Moves buttons, cameras and light of an MjModel of this scene to `layout`."""
    around = PLATE_CENTRE_M if _turns(model) else (0.0, 0.0)
    for i, name in enumerate(BUTTONS_NAMED):
        model.body(name).pos[:] = (*np.subtract(layout.places_m[i], around), _button_z(layout.heights_m[i]))
        model.geom(name).rgba[:] = np.array(RGBA[layout.colours[i]].split(), np.float32)
    for name, pose in CAMERAS.items():
        camera = model.camera(name)
        camera.pos[:] = np.add(pose.eye_m, layout.eye_offsets_m.get(name, 0.0))
        right, above = camera_axes(camera.pos, np.add(pose.target_m, layout.target_offsets_m.get(name, 0.0)), pose.up)
        mujoco.mju_mat2Quat(camera.quat, np.stack([right, above, np.cross(right, above)], axis=1).ravel())
    direction = np.add(LIGHT_DIRECTION, (*layout.light_tilt, 0.0))
    model.light_dir[0] = direction / np.linalg.norm(direction)
    model.light_diffuse[0] = layout.light
    model.vis.headlight.ambient[:] = layout.ambient


def turn_plate(model: Any, data: Any, plate: Plate) -> None:
    """Turns the plate of an MjModel whose plate can turn; nothing happens to another one."""
    if _turns(model):
        half_rad = plate.angle_rad / 2
        data.mocap_quat[-1] = (math.cos(half_rad), 0.0, 0.0, math.sin(half_rad))


def colour_lamp(model: Any, speed_rad_s: float) -> bool:
    """Makes the lamp show how the plate turns; returns whether it changed. There is none below a plate that cannot."""
    if not _turns(model):
        return False
    share, hue = min(1.0, abs(speed_rad_s) / TURNS_RAD_S[1]), LAMP_LEFT if speed_rad_s > 0 else LAMP_RIGHT
    colour = np.add(np.multiply(1 - share, LAMP_STILL), np.multiply(share, hue)).astype(np.float32)
    lamp = model.geom("lamp").rgba
    changed = not np.array_equal(lamp[:3], colour)
    lamp[:3] = colour
    return changed


def _turns(model: Any) -> bool:
    """Whether there is a mocap body, the plate, besides the wrist."""
    return int(model.nmocap) > 1
