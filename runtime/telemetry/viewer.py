"""A run live in the Rerun viewer (rerun.io): images, joints, chunks and lateness on one timeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.files.outputs import check_output_file
from vpp_edge.installing import pip_install
from vpp_edge.number_range import PORT
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.spec.pose import PoseLayout

VIEWER = "viewer"
JPEG_QUALITY = 75
SHOWN_EVERY = 5  # periods: 20 points per second of each line are enough to look at
TIMELINE = "run"


def check_viewer(where: str) -> None:
    """Checks before the run that the live view can work.

    Args:
        where: `viewer` for a window of this machine, `rerun+http://HOST:PORT/proxy` of a viewer that is open, or a file
            `NAME.rrd` to look at later.

    Raises:
        MissingDependencyError, BadInputError.
    """
    from importlib.util import find_spec

    if find_spec("rerun") is None:
        raise MissingDependencyError("rerun-sdk", "--rerun", pip_install("rerun"))
    if where != VIEWER and not where.startswith("rerun+http") and not where.endswith(".rrd"):
        raise BadInputError(f"--rerun {where}: expected nothing, an address rerun+http://HOST:PORT/proxy, or FILE.rrd")
    if where.endswith(".rrd"):
        check_output_file(Path(where), "--rerun")
    if where.startswith("rerun+http"):
        try:
            port = urlsplit(where).port
        except ValueError:
            port = 0
        if port is not None and port not in PORT:
            raise BadInputError(f"--rerun {where}: its port is not {PORT}")


class RerunView:
    """A Sink that shows a run. Use from one thread.

    Args:
        where: as in `check_viewer`.
        joint_names: of the hand, for the lines.
    """

    def __init__(self, where: str, joint_names: tuple[str, ...]) -> None:
        import rerun

        self._rerun, self._joints = rerun, joint_names
        self._stream: Any = rerun.RecordingStream("vpp-edge")
        self._ticks = 0
        try:
            if where == VIEWER:
                self._stream.spawn()
            elif where.startswith("rerun+http"):
                self._stream.connect_grpc(where)
            else:
                self._stream.save(where)
        except Exception as error:  # of the library, of many kinds
            raise HardwareFaultError(f"--rerun {where}: {error}") from error

    def tick(self, slot_ns: int, values: dict[str, Any]) -> None:
        self._ticks += 1
        if self._ticks % SHOWN_EVERY:
            return
        self._at(slot_ns)
        scalars, names = self._rerun.Scalars, ("x", "y", "z")
        for what in ("state", "command"):
            for name, value in zip(names, values[what][PoseLayout.POSITION], strict=True):
                self._stream.log(f"wrist/{name}/{what}", scalars(float(value)))
            for name, value in zip(self._joints, values[what][PoseLayout.JOINTS], strict=True):
                self._stream.log(f"joints/{name}/{what}", scalars(float(value)))
        self._stream.log("loop/late_ms", scalars(values["late_ms"]))
        self._stream.log("loop/holding", scalars(float(values["holding"])))

    def chunk(self, arrived_ns: int, values: dict[str, Any]) -> None:
        self._at(arrived_ns)
        self._stream.log("policy/observation_to_chunk_ms", self._rerun.Scalars(values["image_age_ms"]))
        for name, milliseconds in values["stages_ms"].items():
            self._stream.log(f"policy/{name}_ms", self._rerun.Scalars(milliseconds))
        if np.isfinite(values["targets"]).all():
            path = self._rerun.LineStrips3D([values["targets"][:, PoseLayout.POSITION]], radii=0.001)
            self._stream.log("chunks/wrist_path", path)
        self._stream.log("chunks/verdicts", self._rerun.TextLog(f"{values['request']}: {values['verdict']}"))

    def frame(self, view: str, frame: Frame) -> None:
        self._at(frame.stamp_ns)
        image = self._rerun.Image(np.ascontiguousarray(frame.image))
        self._stream.log(f"cameras/{view}", image.compress(jpeg_quality=JPEG_QUALITY))

    def close(self) -> None:
        """Flushes what is buffered; may be called twice."""
        self._stream.flush()

    def _at(self, monotonic_ns: int) -> None:
        self._stream.set_time(TIMELINE, duration=monotonic_ns / 1e9)
