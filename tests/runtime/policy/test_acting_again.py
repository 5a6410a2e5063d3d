"""A worker with several acts per look: from which pose and images each chunk is made, and when it makes no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import pytest
from worker_under_test import DIMS, HORIZON, settings

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import write_frame
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, write_instruction
from vpp_edge.runtime.ipc.loop_state import MOVING, LoopState
from vpp_edge.runtime.policy.handover_modes import RTC
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.policy.worker import PolicyWorker

pytestmark = pytest.mark.live

ACTS, LOOK_MS = 3, 120
OPTIONS = {"joints": 3, "latency_ms": LOOK_MS, "period_ms": 1000}  # chunks so long that a busy machine is in time
LONGEST_S = 20.0


class Drive:
    """A loop that plays every chunk, a hand that moves steadily, and cameras, all driven by hand.

    Attributes:
        loop_state: what it publishes; `filming`: whether there are new frames.
        chunks: what the worker has sent.
    """

    def __init__(self, policy: ScriptedPolicy | None = None, acts: int = ACTS) -> None:
        self.channels = Channels.create(("static", "wrist"), HORIZON, DIMS)
        write_instruction(self.channels.instruction, Instruction("swing"))
        self.worker = PolicyWorker(policy or ScriptedPolicy(OPTIONS), settings(RTC, acts), self.channels, 0)
        self.loop_state, self.filming, self.chunks = LoopState(resting_since_ns=MOVING), True, list[np.void]()
        self._frame = 0

    def step(self) -> None:
        channels, now_ns = self.channels, time.monotonic_ns()
        vector = np.eye(DIMS)[6]
        vector[0] = now_ns / 1e9
        channels.states.write(now_ns, vector=vector, command=vector, scene=np.zeros(0), **asdict(self.loop_state))
        if self.filming:
            self._frame += 1
            for camera in channels.cameras:
                write_frame(camera.frames, Frame(np.zeros((64, 64, 3), np.uint8), self._frame, now_ns))
        self.worker.step()
        taken = np.zeros(1, channels.chunks.dtype)
        while channels.chunks.take_into(taken):
            chunk = taken[0].copy()
            self.chunks.append(chunk)
            request, observed_ns = int(chunk["request"]), int(chunk["observed_ns"])
            self.loop_state = replace(self.loop_state, request=request, playing=request, playing_from_ns=observed_ns)

    def until(self, there: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LONGEST_S
        while not there():
            assert time.monotonic() < end_s, "this machine is far too slow for the test"
            self.step()

    def looks(self) -> dict[int, list[np.void]]:
        """The chunks by look."""
        found: dict[int, list[np.void]] = {}
        for chunk in self.chunks:
            found.setdefault(int(chunk["request"]) // ACTS, []).append(chunk)
        return found

    def close(self) -> None:
        self.worker.close()
        self.channels.close()


@pytest.fixture
def drive() -> Iterator[Drive]:
    drive = Drive()
    yield drive
    drive.close()


def test_later_acts_start_from_the_newest_pose_while_the_next_look_is_under_way(drive: Drive) -> None:
    drive.until(lambda: sum(len(chunks) == ACTS for chunks in drive.looks().values()) >= 2)
    requests = [int(chunk["request"]) for chunk in drive.chunks]
    assert requests == sorted(set(requests))
    beside = 0
    for look, chunks in drive.looks().items():
        for number, chunk in enumerate(chunks):
            seen_ns = int(chunk["frame_stamps_ns"].min())
            assert chunk["request"] == look * ACTS + number and seen_ns == chunks[0]["observed_ns"]
            assert chunk["observed_ns"] - chunk["image_age_ns"] == seen_ns
            np.testing.assert_allclose(chunk["anchor"][0], chunk["observed_ns"] / 1e9)  # the pose of that moment
            assert (chunk["image_age_ns"] >= LOOK_MS * 1_000_000) == (number > 0)
            if number and (following := drive.looks().get(look + 1)):
                beside += following[0]["started_ns"] < chunk["started_ns"] < following[0]["finished_ns"]
    assert beside >= 1
    board = drive.channels.policy
    assert board["inferences"] == len(drive.chunks) and board["looks"] == len(drive.looks())


def test_later_acts_continue_the_chunk_that_is_played_then(drive: Drive) -> None:
    drive.until(lambda: any(len(chunks) >= 2 for chunks in drive.looks().values()))
    first, second = next(chunks for chunks in drive.looks().values() if len(chunks) >= 2)[:2]
    late = (second["observed_ns"] - first["observed_ns"]) / 1e9
    assert 0 < late < 1, "this machine is far too slow for the test"
    between = (1 - late) * first["targets"][0] + late * first["targets"][1]
    np.testing.assert_allclose(second["targets"][0, 7:], between[7:], atol=1e-6)


def _replace_instruction(drive: Drive) -> None:
    write_instruction(drive.channels.instruction, Instruction("open", since_ns=time.monotonic_ns()))


def _pause(drive: Drive) -> None:
    write_instruction(drive.channels.instruction, Instruction("swing", NEVER))


def _next_episode(drive: Drive) -> None:
    drive.loop_state = replace(drive.loop_state, episode=2)


def _heat(drive: Drive) -> None:
    drive.channels.orders["hot"] = 1


def _stop_cameras(drive: Drive) -> None:
    drive.filming = False
    for camera in drive.channels.cameras:
        camera.board["period_ns"] = 5_000_000


@pytest.mark.parametrize("change", [_replace_instruction, _pause, _next_episode, _heat, _stop_cameras])
def test_what_ends_a_look_ends_its_acts(drive: Drive, change: Callable[[Drive], None]) -> None:
    drive.until(lambda: len(drive.chunks) > 0)
    sent = len(drive.chunks)
    change(drive)
    end_s = time.monotonic() + 1.5 * LOOK_MS / 1e3
    drive.until(lambda: time.monotonic() > end_s)
    first = int(drive.chunks[0]["request"]) // ACTS
    assert len(drive.looks()[first]) == sent
    if change is _stop_cameras:
        assert drive.channels.policy["stale_waits"] >= 1


def test_old_images_make_no_more_chunks() -> None:
    drive = Drive(ScriptedPolicy({**OPTIONS, "period_ms": 15, "latency_ms": 80}))  # a chunk lasts 120 ms, 0.9 of it 108
    drive.until(lambda: len(drive.looks()) >= 4 or drive.worker._slow)
    ages_ns = [int(chunk["image_age_ns"]) for chunk in drive.chunks]
    drive.close()
    assert all(age_ns <= 108_000_000 for age_ns in ages_ns)


class Broken(ScriptedPolicy):
    def perceive(self, frames, **more):
        if self._looks == 2:
            raise RuntimeError("CUDA error: out of memory")
        return super().perceive(frames, **more)


def test_what_goes_wrong_while_looking_is_raised_by_the_worker() -> None:
    drive = Drive(Broken(OPTIONS))
    with pytest.raises(RuntimeError, match="out of memory"):
        drive.until(lambda: len(drive.looks()) > 2)
    drive.close()


def test_the_heart_does_not_beat_while_a_look_hangs(drive: Drive) -> None:
    board = drive.channels.policy
    drive.until(lambda: drive.worker._looker.busy)
    before_ns = board["heartbeat_ns"]
    drive.step()
    assert board["heartbeat_ns"] == before_ns > 0
