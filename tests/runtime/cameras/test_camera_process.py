"""Camera processes: spawned, supplied with the hand's states, and stopped by an order."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import contextmanager

import numpy as np
import pytest

from vpp_edge.errors import MissingDependencyError
from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.cameras.process import run_camera
from vpp_edge.runtime.cameras.sources import UNKNOWN_STATE
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import read_frame, read_note
from vpp_edge.runtime.sim.mujoco_import import import_mujoco
from vpp_edge.runtime.sim.world import SCENE_SIZE

pytestmark = pytest.mark.live

DIMS = 19


@contextmanager
def camera_process(text):
    """A running camera process and the channels of its run; it must exit by itself when ordered to stop."""
    channels = Channels.create(("static",), 4, DIMS, SCENE_SIZE)
    arguments = (os.getpid(), camera_from_text(text), channels.cameras[0], channels.orders, channels.states)
    process = multiprocessing.get_context("spawn").Process(target=run_camera, args=arguments)
    process.start()
    try:
        yield process, channels
        channels.orders["stopping"] = 1
        process.join(10)
        assert process.exitcode == 0, read_note(channels.cameras[0].note)
    finally:
        process.kill()
        process.join()
        channels.close()


def wait_for(condition, process, seconds=30.0):
    """Returns what `condition` returns as soon as it is not None."""
    deadline_s = time.monotonic() + seconds
    while (value := condition()) is None:
        assert time.monotonic() < deadline_s and process.is_alive(), "the camera process gave nothing"
        time.sleep(0.01)
    return value


@pytest.mark.parametrize("kind", ["software", "video"])
def test_frames_of_a_spawned_camera_are_the_decoded_ones(kind, clip, request):
    if kind == "software":
        request.getfixturevalue("realsense")
    with camera_process(f"{kind}:{clip.path}") as (process, channels):
        slot = channels.cameras[0].frames
        first = wait_for(lambda: read_frame(slot), process)
        later = wait_for(lambda: read_frame(slot, newer_than=first.sequence + 3), process)
    for message in (first, later):
        expected = clip.images[(message.value.number - 1) % len(clip.images)]
        assert np.array_equal(message.value.image, expected)
    assert later.stamp_ns > first.stamp_ns


def test_a_simulated_view_follows_the_states_of_the_loop(realsense):
    def publish(x_m, scene):
        record = channels.states.begin()
        record["vector"] = UNKNOWN_STATE.vector + x_m * (np.arange(DIMS) == 0)
        record["scene"] = scene
        channels.states.commit(time.monotonic_ns())
        return time.monotonic_ns()

    try:
        text = camera_from_text("software:sim/side?width=64&height=48&fps=20").text
        import_mujoco()  # like the product: a bare import would select another GL for all later tests
    except MissingDependencyError as error:
        pytest.skip(str(error))
    with camera_process(text) as (process, channels):
        slot, images = channels.cameras[0].frames, []

        def seen(since_ns):
            message = read_frame(slot)
            return message.value.image if message is not None and message.stamp_ns > since_ns else None

        pressed = (7, 0, 0.008, *(0,) * 5)
        for x_m, scene in ((0.0, (7, *(0,) * 7)), (0.1, pressed), (0.1, pressed), (0.1, (8, *pressed[1:]))):
            since_ns = publish(x_m, scene)
            images.append(wait_for(lambda since_ns=since_ns: seen(since_ns), process))
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[1], images[2])
    assert not np.array_equal(images[2], images[3]), "the buttons of another episode are elsewhere"
