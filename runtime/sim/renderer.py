"""Renders the simulation: a camera, the hand's state and the buttons' in, an RGB image out.

MuJoCo draws where a GPU does the work. Where there is none, or no GL library, the rasterizer of this package draws:
it takes less than half of the time that Mesa takes on a CPU, which policy and control loop need for themselves.
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
from vpp_edge.runtime.sim.mujoco_import import cpu_that_draws, gl_kind, import_mujoco
from vpp_edge.runtime.sim.rasterizer import Rasterizer
from vpp_edge.runtime.sim.scene import CAMERAS, SKY, apply_layout, scene_xml
from vpp_edge.runtime.sim.world import SCENE_SIZE
from vpp_edge.spec.pose import PoseLayout

VIEWS = (*CAMERAS, "wrist")
SMOOTH_PIXELS = 160 * 120  # more of them, with smooth edges, would take a core to themselves
STATE_SIZE = PoseLayout.dims(len(JOINTS))


class SimRenderer:
    """Draws the scene at one size. Context manager; keep one per process, and use it in the thread that made it.

    Args:
        width, height: of the pictures, in pixels.
        kind: `software` to do without GL; None: what the user chose with MUJOCO_GL, else EGL where it has a GPU.

    Attributes:
        kind: what draws: `egl`, `osmesa`, another choice of the user's MUJOCO_GL, or `software`.
        note: why GL is not used; empty where it is, or where nobody wanted it.

    Raises:
        BadInputError: the size or the kind cannot be.
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(self, width: int, height: int, kind: str | None = None) -> None:
        if not (1 <= width <= 4096 and 1 <= height <= 4096):
            raise BadInputError(f"picture of {width} x {height}; expected 1 to 4096 pixels each way")
        if kind not in (None, "software"):
            raise BadInputError(f"renderer {kind!r}; expected 'software' or None (choose GL's with MUJOCO_GL)")
        self.width, self.height, self.note = width, height, ""
        self._mujoco = import_mujoco()
        self._model = self._mujoco.MjModel.from_xml_string(scene_xml())
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._data = self._mujoco.MjData(self._model)
        self._joints, self._buttons = self._data.qpos[: len(JOINTS)], self._data.qpos[len(JOINTS) :]
        self._seed: float | None = None
        self._software: Rasterizer | None = None
        self._gl = None if kind == "software" else self._open_gl()
        self.kind = "software" if self._gl is None else self._mujoco.GLContext.__module__.rpartition(".")[2]
        if self._gl is None:
            background = tuple(map(float, SKY.split()))
            samples = 2 if width * height <= SMOOTH_PIXELS else 1
            self._software = Rasterizer(self._mujoco, self._model, width, height, background, samples)

    def _open_gl(self) -> Any:
        if gl_kind() == "disable":
            self.note = "no GL library, or MUJOCO_GL turns GL off"
            return None
        try:
            renderer = self._mujoco.Renderer(self._model, self.height, self.width)
            if os.environ.get("MUJOCO_GL") or gl_kind() != "egl" or not (driver := cpu_that_draws()):
                return renderer
            renderer.close()
            self.note = f"EGL has no GPU here ({driver}); MUJOCO_GL=egl draws with it all the same"
            return None
        except Exception as error:  # noqa: BLE001 - drivers fail in many ways, and there is another way to draw
            self.note = f"{gl_kind()} failed: {type(error).__name__}: {error}"
            return None

    def render(self, view: str, state: np.ndarray, scene: np.ndarray | None = None) -> np.ndarray:
        """Draws camera `view` with the hand in `state` over the buttons of `scene`.

        Args:
            view: one of VIEWS.
            state: (19,) as in HandState.vector: wrist xyz in m, wrist quaternion (xyzw), 12 joint angles in rad.
            scene: (5,) as in `world.scene_of`: seed of the episode, depth of each button in m; None: the nominal
                layout, no button down.

        Returns:
            (height, width, 3) uint8, RGB; the caller's own.

        Raises:
            BadInputError: an unknown view, or a state or scene that is not 19 or 5 finite numbers.
        """
        if view not in VIEWS:
            raise BadInputError(f"unknown view {view!r} of the simulation; there are: {', '.join(VIEWS)}")
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (STATE_SIZE,) or not np.isfinite(state).all():
            raise BadInputError(f"hand state of shape {state.shape}: {state}; expected ({STATE_SIZE},) finite numbers")
        scene = None if scene is None else np.asarray(scene, dtype=np.float64)
        if scene is not None and (scene.shape != (SCENE_SIZE,) or not np.isfinite(scene).all()):
            raise BadInputError(f"scene of shape {scene.shape}: {scene}; expected ({SCENE_SIZE},) finite numbers")
        self._enter(scene)
        data = self._data
        data.mocap_pos[0] = state[PoseLayout.POSITION]
        data.mocap_quat[0] = state[[6, 3, 4, 5]]
        self._joints[:] = state[PoseLayout.JOINTS]
        self._buttons[:] = 0 if scene is None else scene[1:]
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_camlight(self._model, data)
        if self._software is not None:
            return self._software.render(data, view)
        if self._gl is None:
            raise BadInputError("this renderer is closed; open another one")
        self._gl.update_scene(data, view)
        return self._gl.render()

    def _enter(self, scene: np.ndarray | None) -> None:
        """Moves everything to where the scene's episode has it, once per episode."""
        seed = None if scene is None else float(scene[0])
        if seed == self._seed:
            return
        self._seed = seed
        layout = NOMINAL if seed is None else layout_from_seed(int(seed))
        apply_layout(self._mujoco, self._model, layout)
        if self._software is not None:
            self._software.forget()

    def close(self) -> None:
        """Gives GL back; may be called twice."""
        gl, self._gl, self._software = self._gl, None, None
        if gl is not None:
            with contextlib.suppress(Exception):  # a driver that fails to close changes nothing any more
                gl.close()

    def __enter__(self) -> SimRenderer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
