"""What the hand works in: in, nothing; out, the whole MJCF: hand, table, things on it, light and fixed cameras."""

from __future__ import annotations

from vpp_edge.runtime.sim.model import Point, camera_xml, hand_actuators, hand_body, hand_defaults

STEP_S = 0.002
FIELD_OF_VIEW_DEG = 42.0  # vertical, of a RealSense D435's colour camera
CAMERAS: dict[str, tuple[Point, Point, Point]] = {  # name: eye, what it looks at, what is up in its picture
    "top": ((0.88, -0.06, 0.88), (0.43, -0.06, 0.11), (0.0, 0.0, 1.0)),
    "side": ((0.56, 0.78, 0.36), (0.44, -0.08, 0.19), (0.0, 0.0, 1.0)),
}
SKY = "0.80 0.85 0.90"
LIGHT_DIRECTION = (-0.35, -0.25, -1.0)


def scene_xml() -> str:
    """MJCF of the scene, for `MjModel.from_xml_string`. Joints and actuators are in the order of `model.JOINTS`.

    The things on the table do not move: nothing but the hand's state decides what a picture shows.
    """
    cameras = "".join(camera_xml(name, *points, FIELD_OF_VIEW_DEG) for name, points in CAMERAS.items())
    light = " ".join(map(str, LIGHT_DIRECTION))
    return f"""
<mujoco model="hand over a table">
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
    <default class="thing"><geom contype="2" conaffinity="1"/></default>
  </default>
  <asset>
    <texture type="skybox" builtin="flat" rgb1="{SKY}" rgb2="{SKY}" width="16" height="96"/>
  </asset>
  <worldbody>
    <light directional="true" pos="0.86 0.24 1.2" dir="{light}" diffuse="0.45 0.45 0.45" specular="0 0 0"
           ambient="0 0 0" castshadow="true"/>
    {cameras}
    <geom name="table" class="thing" type="box" size="0.42 0.52 0.02" pos="0.48 -0.05 -0.02" rgba="0.78 0.71 0.60 1"/>
    <geom name="mat" type="box" size="0.26 0.34 0.001" pos="0.50 -0.06 0.001" rgba="0.42 0.52 0.58 1" contype="0"
          conaffinity="0"/>
    <geom name="red_ball" class="thing" type="sphere" size="0.028" pos="0.62 0.13 0.030" rgba="0.85 0.20 0.18 1"/>
    <geom name="green_block" class="thing" type="box" size="0.026 0.026 0.026" pos="0.66 -0.07 0.028"
          euler="0 0 0.5" rgba="0.25 0.62 0.30 1"/>
    <geom name="yellow_bar" class="thing" type="capsule" size="0.018" fromto="0.46 0.10 0.020 0.53 0.14 0.020"
          rgba="0.95 0.75 0.15 1"/>
    <geom name="blue_block" class="thing" type="box" size="0.035 0.022 0.018" pos="0.62 -0.27 0.020" euler="0 0 -0.4"
          rgba="0.18 0.38 0.78 1"/>
    {hand_body()}
  </worldbody>
  <actuator>{hand_actuators()}</actuator>
</mujoco>"""
