"""Records a run: its frames, ticks and inferences become an episode in the layout that VPP trains on.

    DIR/annotation/<split>/<id>.json    texts, videos, states, actions, video_length (as in the released data sets)
    DIR/videos/<split>/<id>/<view>.mp4  what the policy sees: cropped, resized, one frame per action period
    DIR/timings/<split>/<id>.npz        every tick, every inference, which camera frame each row shows

A row of the episode is one action period: the newest frame of every view, the measured state and the command of that
moment. The recorder is a process of its own that only reads what the others publish. Nobody waits for it, and what it
is too slow for is counted. An episode appears under its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.files.outputs import check_output_folder
from vpp_edge.files.writing import write_whole
from vpp_edge.installing import pip_install
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.ipc.codecs import read_frame
from vpp_edge.runtime.ipc.counters import Verdict
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.telemetry.episode_folder import ANNOTATION, KINDS, TIMINGS, EpisodeFolder, finish_episodes
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.preprocess import resized_square
from vpp_edge.spec.rotation import stored_from_xyzw
from vpp_edge.video import VideoWriter

TASK = "robot_trajectory_prediction"  # as the released annotations have it
LONGEST_S = 6 * 3600  # ticks of a longer run are not kept: 6 h at 100 Hz are 1 GB


@dataclass(frozen=True)
class RecorderSettings:
    """What the recorder writes, and where.

    Attributes:
        folder: the data set; episodes are added to it.
        period_ns: time between two rows, that of the actions.
        tick_rate_hz: of the control loop.
        sizes: height and width of the policy's view, per camera (square).
        quaternion_order: how the wrist's quaternion is stored in states and actions.
        origin: bundle, backend, hand and the like, kept in the annotation.
    """

    folder: str
    instruction: str
    period_ns: int
    tick_rate_hz: float
    sizes: tuple[int, ...]
    quaternion_order: str
    origin: dict[str, Any]
    split: str = "val"

    @property
    def most_ticks(self) -> int:
        """How many ticks are kept: those of LONGEST_S."""
        return round(LONGEST_S * self.tick_rate_hz)


def check_recording(folder: str) -> tuple[str, ...]:
    """Checks before the run that it can be recorded, and completes or removes what killed runs left there.

    Returns:
        a note for each episode that was completed.

    Raises:
        MissingDependencyError, BadInputError.
    """
    from importlib.util import find_spec

    if find_spec("av") is None:
        raise MissingDependencyError("PyAV", "--record", pip_install("video"))
    root = Path(folder)
    check_output_folder(root, "--record")
    notes = finish_episodes(root)
    _check_layout(root)
    for kind in KINDS:
        check_output_folder(root / kind, "--record")
    return notes


def _check_layout(root: Path) -> None:
    """Raises BadInputError for a folder that holds something else than episodes as we write them."""
    folders = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")} if root.is_dir() else set()
    foreign = sorted(folders - set(KINDS))
    if "meta" in foreign or (foreign and "annotation" not in folders):
        raise BadInputError(
            f"--record {root}: this folder is of another layout: it holds {', '.join(foreign[:4])}, and ours "
            f"{', '.join(KINDS)}; give a new folder"
        )


def run_recorder(parent_pid: int, settings: RecorderSettings, channels: Channels) -> None:
    """Body of the recorder process: collects until told to stop, then completes the episode."""
    with child_body(parent_pid, channels.recorder, channels.recorder_note):
        episode = EpisodeWriter(settings, [camera.name for camera in channels.cameras])
        try:
            _collect(settings, channels, episode)
            episode.complete()
        except OSError as error:
            raise HardwareFaultError(f"the recording stopped: {error}; is the disk full?") from error
        finally:
            episode.discard()


def _collect(settings: RecorderSettings, channels: Channels, episode: EpisodeWriter) -> None:
    board = channels.recorder
    board["phase"] = Phase.RUNNING
    tick = np.empty(1, channels.ticks.dtype)
    verdict = np.empty(1, channels.verdicts.dtype)
    ticks_kept, next_ns = 0, 0
    while True:
        stopping = bool(channels.orders["stopping"])  # read before draining: nothing comes after it
        board["heartbeat_ns"] = time.monotonic_ns()
        fresh = False
        while channels.ticks.take_into(tick):
            fresh = True
            if ticks_kept < settings.most_ticks:
                episode.add_tick(tick)
                ticks_kept += 1
        while channels.verdicts.take_into(verdict):
            episode.add_inference(verdict)
            board.add("inferences")
        if fresh and episode.moving and (now_ns := time.monotonic_ns()) >= next_ns:
            frames = [read_frame(camera.frames) for camera in channels.cameras]
            if all(frame is not None for frame in frames):
                episode.add_row(tick[0], frames)
                board.add("rows")
            # The grid continues after a stall; missed rows show in the timestamps.
            next_ns = max(next_ns + settings.period_ns, now_ns - settings.period_ns // 2)
        board["ticks"] = ticks_kept
        if stopping:
            return
        time.sleep(min(0.01, settings.period_ns / 4e9))


class EpisodeWriter:
    """Writes one episode under a temporary name; `complete` gives it its own. Use from one thread."""

    def __init__(self, settings: RecorderSettings, view_names: list[str]) -> None:
        self._settings, self._names = settings, view_names
        self._folder = EpisodeFolder(Path(settings.folder), settings.split)
        self._partial = self._folder.path
        self._tick_dtype = np.dtype([])
        self._ticks_file = (self._partial / "ticks.bin").open("wb")  # hours of them do not belong in memory
        self._inferences: list[np.ndarray] = []
        self._states: list[list[float]] = []
        self._actions: list[list[float]] = []
        self._rows: list[tuple[int, list[int], list[int]]] = []
        self.moving = False
        self._videos = [
            VideoWriter(self._partial / f"{i}.mp4", size, size, Fraction(1_000_000_000, settings.period_ns))
            for i, size in enumerate(settings.sizes)
        ]

    @property
    def number(self) -> int:
        """Of the episode."""
        return self._folder.number

    def add_tick(self, tick: np.ndarray) -> None:
        """Keeps one period of the loop, (1,) of `tick_dtype`."""
        self._tick_dtype = tick.dtype
        self._ticks_file.write(tick.tobytes())

    def add_inference(self, verdict: np.ndarray) -> None:
        """Keeps one inference, (1,) of `verdict_dtype`; the first one used begins the episode."""
        self._inferences.append(verdict.copy())
        self.moving = self.moving or verdict["verdict"][0].decode() == Verdict.USED.value

    def add_row(self, tick: np.void, frames: list) -> None:
        """One action period: V frame messages with the state and command of a tick."""
        for video, message, size in zip(self._videos, frames, self._settings.sizes, strict=True):
            video.add(resized_square(message.value.image, size))
        self._states.append(self._stored(tick["state"]))
        self._actions.append(self._stored(tick["command"]))
        numbers, stamps = [m.value.number for m in frames], [m.stamp_ns for m in frames]
        self._rows.append((int(tick["stamp_ns"]), numbers, stamps))

    def _stored(self, vector: np.ndarray) -> list[float]:
        position, joints = vector[PoseLayout.POSITION], vector[PoseLayout.JOINTS]
        quaternion = stored_from_xyzw(vector[PoseLayout.QUATERNION], self._settings.quaternion_order)
        return [float(v) for v in (*position, *quaternion, *joints)]

    def complete(self) -> Path | None:
        """Moves the episode to its place; the path of its annotation, or None when nothing was recorded."""
        for video in self._videos:
            video.close()
        self._ticks_file.close()
        if not self._rows:
            return None
        self._write_timings(self._partial / TIMINGS)
        write_whole(self._partial / ANNOTATION, json.dumps(self._annotation()))
        return self._folder.publish()

    def discard(self) -> None:
        """Removes what is left under the temporary name."""
        for close in (*(video.close for video in self._videos), self._ticks_file.close):
            with contextlib.suppress(OSError):  # a full disk must not keep the folder from being removed
                close()
        self._folder.close()

    def _annotation(self) -> dict[str, Any]:
        settings, split, number = self._settings, self._settings.split, self.number
        return {
            "task": TASK,
            "texts": [settings.instruction],
            "videos": [{"video_path": f"videos/{split}/{number}/{i}.mp4"} for i in range(len(self._videos))],
            "episode_id": number,
            "video_length": len(self._rows),
            "latent_videos": [],
            "states": self._states,
            "actions": self._actions,
            "period_ms": settings.period_ns / 1e6,
            "views": self._names,
            "timings": f"timings/{split}/{number}.npz",
            "origin": settings.origin,
        }

    def _write_timings(self, path: Path) -> None:
        stamps, numbers, frame_stamps = zip(*self._rows, strict=True)
        np.savez_compressed(
            path,
            ticks=np.memmap(self._partial / "ticks.bin", self._tick_dtype, mode="r"),
            inferences=np.concatenate(self._inferences),
            row_stamps_ns=np.array(stamps),
            row_frame_numbers=np.array(numbers),
            row_frame_stamps_ns=np.array(frame_stamps),
        )
