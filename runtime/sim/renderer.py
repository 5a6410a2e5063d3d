"""Renders the simulation: a camera, the state of the hand and of the buttons in, an RGB image out.

MuJoCo renders where there is a GPU. Without a GPU or a GL library, the rasterizer of this package renders: it takes
less than half the CPU time of Mesa, which the policy and the control loop need.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.sim.layout import NOMINAL, layout_from_seed
from vpp_edge.runtime.sim.model import JOINTS
from vpp_edge.runtime.sim.mujoco_import import gl_kind, import_mujoco, software_driver
from vpp_edge.runtime.sim.rasterizer import Rasterizer
from vpp_edge.runtime.sim.scene import SKY, apply_layout, colour_lamp, scene_xml, turn_plate
from vpp_edge.runtime.sim.view_names import VIEWS
from vpp_edge.runtime.sim.world import SCENE_SIZE, depths_of, kind_of, plate_of
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, WorldKind
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.suggestion import did_you_mean

SMOOTH_PIXELS = 160 * 120  # larger images with smooth edges would take a whole core
STATE_SIZE = PoseLayout.dims(len(JOINTS))


class SimRenderer:
    """Renders the scene at one size. Context manager; keep one per process, and use it in the thread that created it.

    Args:
        width, height: of the images, in pixels.
        kind: `software` to do without GL; None: the backend of MUJOCO_GL, or else EGL if it has a GPU.

    Attributes:
        kind: the backend in use: `egl`, `osmesa`, another value of MUJOCO_GL, or `software`.
        note: why GL is not used; empty where it is used or `software` was requested.

    Raises:
        BadInputError: invalid size or kind.
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(self, width: int, height: int, kind: str | None = None) -> None:
        if not (1 <= width <= 4096 and 1 <= height <= 4096):
            raise BadInputError(f"image of {width} x {height}; expected 1 to 4096 pixels in both directions")
        if kind not in (None, "software"):
            raise BadInputError(f"renderer {kind!r}; expected 'software' or None (choose GL backends with MUJOCO_GL)")
        self.width, self.height, self.note = width, height, ""
        self._mujoco = import_mujoco()
        self._gl, self._software = None, None
        self._build(BUTTONS)
        self._gl = None if kind == "software" else self._open_gl()
        self.kind = "software" if self._gl is None else self._mujoco.GLContext.__module__.rpartition(".")[2]
        if self._gl is None:
            self._software = self._open_software()

    def _build(self, world: WorldKind) -> None:
        """Builds the model of a kind of world, in its nominal layout."""
        self._world = world
        self._seed: float | None = None
        self._model = self._mujoco.MjModel.from_xml_string(scene_xml(world))
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = self.width, self.height
        self._data = self._mujoco.MjData(self._model)
        self._joints, self._buttons = self._data.qpos[: len(JOINTS)], self._data.qpos[len(JOINTS) :]

    def _open_software(self) -> Rasterizer:
        background = tuple(map(float, SKY.split()))
        samples = 2 if self.width * self.height <= SMOOTH_PIXELS else 1
        return Rasterizer(
            self._mujoco, self._model, width=self.width, height=self.height, background=background, samples=samples
        )

    def _enter(self, world: WorldKind) -> None:
        """Goes to another kind of world. A process has one GL renderer at a time."""
        self._build(world)
        if self._gl is not None:
            self._gl.close()
            self._gl = self._mujoco.Renderer(self._model, self.height, self.width)
        if self._software is not None:
            self._software = self._open_software()

    def _open_gl(self) -> Any:
        if gl_kind() == "disable":
            self.note = "no GL library, or MUJOCO_GL turns GL off"
            return None
        try:
            renderer = self._mujoco.Renderer(self._model, self.height, self.width)
            if os.environ.get("MUJOCO_GL") or gl_kind() != "egl" or not (driver := software_driver()):
                return renderer
            renderer.close()
            self.note = f"EGL has no GPU here ({driver}); set MUJOCO_GL=egl to use it anyway"
            return None
        except Exception as error:  # noqa: BLE001 - drivers fail in many ways, and there is a fallback
            self.note = f"{gl_kind()} failed: {type(error).__name__}: {error}"
            return None

    def render(self, view: str, state: np.ndarray, scene: np.ndarray | None = None) -> np.ndarray:
        """Renders camera `view` with the hand in `state` above the buttons of `scene`.

        Args:
            view: one of VIEWS.
            state: (19,) as in HandState.vector: wrist xyz in m, wrist quaternion (xyzw), 12 joint angles in rad.
            scene: (8,) as in `world.scene_of`; None: the nominal layout of `buttons` with no button down.

        Returns:
            (height, width, 3) uint8 RGB, owned by the caller.

        Raises:
            BadInputError: unknown view, a state or scene that is not 19 or 8 finite numbers, or no such kind of world.
        """
        if view not in VIEWS:
            raise BadInputError(
                f"unknown view {view!r}{did_you_mean(view, VIEWS)} of the simulation; expected one of "
                f"{', '.join(VIEWS)}"
            )
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (STATE_SIZE,) or not np.isfinite(state).all():
            raise BadInputError(f"hand state of shape {state.shape}: {state}; expected ({STATE_SIZE},) finite numbers")
        scene = None if scene is None else np.asarray(scene, dtype=np.float64)
        if scene is not None and (scene.shape != (SCENE_SIZE,) or not np.isfinite(scene).all()):
            raise BadInputError(f"scene of shape {scene.shape}: {scene}; expected ({SCENE_SIZE},) finite numbers")
        self._arrange(scene)
        data = self._data
        data.mocap_pos[0] = state[PoseLayout.POSITION]
        data.mocap_quat[0] = state[[6, 3, 4, 5]]
        self._joints[:] = state[PoseLayout.JOINTS]
        self._buttons[:] = 0 if scene is None else depths_of(scene)
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_camlight(self._model, data)
        if self._software is not None:
            return self._software.render(data, view)
        if self._gl is None:
            raise BadInputError("this renderer is closed; open another one")
        self._gl.update_scene(data, view)
        return self._gl.render()

    def _arrange(self, scene: np.ndarray | None) -> None:
        """Moves everything but hand and buttons to where it is in the scene; the layout once per episode."""
        seed, world = (None, BUTTONS) if scene is None else (float(scene[0]), kind_of(scene))
        if world is not self._world:
            self._enter(world)
        moved = seed != self._seed
        if moved:
            self._seed = seed
            layout = NOMINAL if seed is None else layout_from_seed(int(seed), world)
            apply_layout(self._mujoco, self._model, layout)
        if scene is not None:
            plate = plate_of(scene)
            turn_plate(self._model, self._data, plate)
            moved |= colour_lamp(self._model, plate.speed_rad_s)
        if moved and self._software is not None:
            self._software.forget()

    def close(self) -> None:
        """Releases GL; may be called twice."""
        gl, self._gl, self._software = self._gl, None, None
        if gl is not None:
            with contextlib.suppress(Exception):  # a driver that fails to close has no consequence
                gl.close()

    def __enter__(self) -> SimRenderer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
