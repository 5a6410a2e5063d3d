"""Recorded runs: the layout that VPP trains on, read back; and that the recorder never costs the loop anything."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from camera_under_test import PatternConfig
from hands_under_test import HOME, PerfectHand

from vpp_edge.clock import MonotonicClock
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.dtypes import chunk_dtype, tick_dtype, verdict_dtype
from vpp_edge.runtime.ipc.rings.newest import Message
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.run import run_session
from vpp_edge.runtime.telemetry.recorder import LONGEST_S, EpisodeWriter, RecorderSettings

pytestmark = pytest.mark.live
PERIOD_NS = 100_000_000


def settings_for(folder, order="xyzw", tick_rate_hz=100.0):
    return RecorderSettings(
        folder=str(folder),
        instruction="Move the mango.",
        period_ns=PERIOD_NS,
        tick_rate_hz=tick_rate_hz,
        sizes=(64, 64),
        quaternion_order=order,
        origin={"hand": "perfect"},
    )


def tick_at(stamp_ns, vector=HOME):
    tick = np.zeros(1, tick_dtype(10))
    tick["stamp_ns"] = tick["slot_ns"] = stamp_ns
    tick["state"], tick["command"] = vector, vector + 0.01
    return tick


def frame_of(level, number):
    image = np.full((48, 80, 3), level, np.uint8)
    return Message(Frame(image, number, number), number, number)


def write_episode(folder, rows=5, order="xyzw"):
    writer = EpisodeWriter(settings_for(folder, order), ["static", "wrist"])
    verdict = np.zeros(1, verdict_dtype(chunk_dtype(4, 10, 2)))
    verdict["verdict"] = b"used"
    writer.add_inference(verdict)
    for i in range(rows):
        tick = tick_at(i * PERIOD_NS)
        writer.add_tick(tick)
        writer.add_row(tick[0], [frame_of(40 * i, i + 1), frame_of(200, i + 1)])
    path = writer.complete()
    writer.discard()
    return path


def video_levels(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (64, 64, 10)
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(stream)]


def test_an_episode_reads_back_as_it_was(tmp_path):
    path = write_episode(tmp_path)
    assert path == tmp_path / "annotation" / "val" / "0.json"
    note = json.loads(path.read_text())
    assert note["task"] == "robot_trajectory_prediction" and note["texts"] == ["Move the mango."]
    assert note["video_length"] == len(note["states"]) == len(note["actions"]) == 5
    np.testing.assert_allclose(note["states"][0], HOME)
    np.testing.assert_allclose(note["actions"][0], HOME + 0.01)
    levels = [video_levels(tmp_path / video["video_path"]) for video in note["videos"]]
    np.testing.assert_allclose(levels[0], [0, 40, 80, 120, 160], atol=4)
    np.testing.assert_allclose(levels[1], [200] * 5, atol=4)
    timings = np.load(tmp_path / note["timings"])
    assert timings["ticks"]["slot_ns"].tolist() == [i * PERIOD_NS for i in range(5)]
    assert timings["row_frame_numbers"].tolist() == [[i + 1, i + 1] for i in range(5)]
    assert timings["inferences"]["verdict"].tolist() == [b"used"]


def test_the_keys_are_those_of_the_released_episodes(tmp_path):
    note = json.loads(write_episode(tmp_path).read_text())
    released = {"task", "texts", "videos", "episode_id", "video_length", "latent_videos", "states", "actions"}
    assert released <= set(note)


def test_episodes_add_up_and_what_was_cut_short_leaves_no_trace(tmp_path):
    write_episode(tmp_path)
    cut = EpisodeWriter(settings_for(tmp_path), ["static", "wrist"])
    other = EpisodeWriter(settings_for(tmp_path), ["static", "wrist"])
    assert (cut.number, other.number) == (1, 2)
    assert cut.complete() is None  # nothing was recorded
    cut.discard()
    other.discard()
    assert write_episode(tmp_path).name == "1.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["annotation", "timings", "videos"]


def test_the_quaternion_is_stored_in_the_order_of_the_policy(tmp_path):
    note = json.loads(write_episode(tmp_path, order="wxyz").read_text())
    np.testing.assert_allclose(note["states"][0][3:7], [1, 0, 0, 0])


def test_a_run_is_recorded_beside_the_loop(tmp_path):
    hand = PerfectHand(MonotonicClock())
    cameras = (PatternConfig("static"), PatternConfig("wrist"))
    config = SessionConfig(
        "latency_ms=30,joints=3", cameras, hand, "Move.", 2.0, backend="scripted", record=str(tmp_path)
    )
    report = run_session(config)
    assert report.exit_status == 0 and report.recording.fault == "" and report.recording.ticks_lost == 0
    note = json.loads((tmp_path / "annotation" / "val" / "0.json").read_text())
    assert note["video_length"] == report.recording.rows == pytest.approx(20, abs=4)
    joints = np.array(note["states"])[:, 7:]
    assert np.ptp(joints, axis=0).max() > 0.1
    timings = np.load(tmp_path / note["timings"])
    assert len(timings["inferences"]) >= report.control.chunks.used
    assert len(timings["ticks"]) >= report.control.loop.ticks
    spacing = np.diff(timings["row_stamps_ns"])
    assert abs(np.median(spacing) - PERIOD_NS) < 0.2 * PERIOD_NS
    assert len(video_levels(tmp_path / note["videos"][1]["video_path"])) == note["video_length"]


@pytest.mark.parametrize("rate_hz", [10.0, 100.0, 1000.0])
def test_ticks_are_kept_for_the_same_time_at_any_rate(tmp_path, rate_hz):
    assert settings_for(tmp_path, tick_rate_hz=rate_hz).most_ticks == LONGEST_S * rate_hz


def test_every_tick_of_a_fast_loop_is_kept(tmp_path):
    cameras = (PatternConfig("static"), PatternConfig("wrist"))
    config = SessionConfig(
        bundle="latency_ms=30,joints=3",
        cameras=cameras,
        hand=PerfectHand(MonotonicClock()),
        instruction="Move.",
        duration_s=1.0,
        rate_hz=300.0,
        backend="scripted",
        record=str(tmp_path),
    )
    report = run_session(config)
    timings = np.load(tmp_path / "timings" / "val" / "0.npz")
    assert len(timings["ticks"]) == report.recording.ticks >= report.control.loop.ticks
    assert (np.diff(timings["ticks"]["slot_ns"]) % round(1e9 / 300) == 0).all()


def test_a_recording_that_fails_costs_the_run_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "annotation").mkdir(parents=True)
    (folder / "annotation" / "val").write_text("in the way")
    hand = PerfectHand(MonotonicClock())
    cameras = (PatternConfig("static"), PatternConfig("wrist"))
    config = SessionConfig("joints=3", cameras, hand, "Move.", 1.0, backend="scripted", record=str(folder))
    report = run_session(config)
    assert report.exit_status == 0 and "recording stopped" in report.recording.fault
    assert any("recording stopped" in line for line in report.lines())
    assert not list(folder.glob(".partial*"))
