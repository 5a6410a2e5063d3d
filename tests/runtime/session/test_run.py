"""Whole runs: processes, faults in any of them, start-up, signals. With a scripted policy and patterned cameras."""

from __future__ import annotations

import base64
import glob
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import camera_under_test
import numpy as np
import pytest
from camera_under_test import PatternConfig
from hands_under_test import HOME, PerfectHand, assert_within_limits
from prometheus import asked, samples

from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.run import run_session

pytestmark = pytest.mark.live
SECOND_NS = 1_000_000_000


@dataclass
class Outcome:
    report: object
    hand: PerfectHand
    statuses: list
    snapshots: list


TWO = (PatternConfig("static"), PatternConfig("wrist"))


def run(script="latency_ms=30,joints=3", cameras=TWO, act=None, **options):
    """Runs a session; `act(statuses)` runs beside it in a thread."""
    hand, statuses, snapshots = PerfectHand(MonotonicClock()), [], []
    options = {"duration_s": 1.0, "backend": "scripted", "start_s": 20.0, **options}
    config = SessionConfig(script, cameras, hand, "Move the mango.", **options)
    if act is not None:
        threading.Thread(target=act, args=(statuses,), daemon=True).start()
    report = run_session(config, RunHooks(on_status=statuses.append, on_snapshot=snapshots.append))
    assert not glob.glob(f"/dev/shm/vppe-{os.getpid()}-*")
    assert hand.held == 1
    if hand.sent:
        assert_within_limits([HOME, *hand.sent], 10_000_000)
    return Outcome(report, hand, statuses, snapshots)


def children():
    me = os.getpid()
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = (path.parent / "environ").read_bytes() and (path.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if parent == me and any("multiprocessing.spawn" in word for word in words):
            found[int(path.parent.name)] = words
    return sorted(found)


def wait_until_moving(statuses):
    while not any(not status.waiting_for for status in statuses):
        time.sleep(0.02)


def test_a_run_to_its_end_counts_every_frame_and_keeps_its_rate():
    cameras = (PatternConfig("static", drop_every=10), PatternConfig("wrist"))
    outcome = run(cameras=cameras, duration_s=1.5)
    report = outcome.report
    assert report.exit_status == 0 and report.ended == "end of the duration: hand held"
    assert report.control.loop.ticks + report.control.loop.missed == 151
    assert report.control.chunks.used >= 10 and report.control.chunks.rejected == 0
    for camera in report.cameras:
        assert camera.delivered == camera.used + camera.superseded > 30 and camera.size == (48, 64)
    assert report.cameras[0].dropped > 2 and report.cameras[1].dropped == 0
    assert {"prepare", "perceive", "act", "targets", "total"} <= set(report.policy.stages)
    assert report.policy.stages["perceive"].p50_ms == pytest.approx(30, abs=10)
    assert np.ptp(np.array(outcome.hand.sent)[:, 7:], axis=0).max() > 0.1
    text = "\n".join(report.lines())
    assert "later than 2 ms" in text and "p99.9" in text and "ended     end of the duration: hand held" in text
    assert outcome.snapshots[-1].images[0].shape == (48, 64, 3) and outcome.snapshots[-1].vector.shape == (10,)
    import json

    assert json.loads(json.dumps(report.to_json()))["exit_status"] == 0


def test_a_policy_that_acts_again_on_the_same_images_says_so():
    outcome = run("latency_ms=120,joints=3", acts_per_look=3, duration_s=1.5)
    report, policy = outcome.report, outcome.report.policy
    assert report.exit_status == 0 and report.control.chunks.rejected == report.control.chunks.old == 0
    assert policy.looks + 2 <= policy.inferences <= 3 * policy.looks + 3
    assert policy.stages["perceive"].p50_ms >= 119 and policy.stages["act"].p50_ms < policy.stages["perceive"].p50_ms
    ages = policy.stages["observation to chunk"], policy.stages["hand to chunk"]
    assert ages[0].p50_ms > 119 and ages[1].p50_ms < ages[0].p50_ms  # most chunks start from a newer pose
    assert f"from {policy.looks} looks" in "\n".join(report.lines())


def test_an_engine_that_fails_beside_the_acts_is_built_anew_once():
    report = run("latency_ms=40,joints=3,fail_after=6", acts_per_look=3, duration_s=None).report
    assert report.exit_status == 1 and report.control.held and report.control.chunks.used >= 6
    assert report.ended.startswith("fault: policy failed with status 1 (RuntimeError: CUDA error")
    assert len(report.policy.deaths) == 2


def test_ctrl_c_ends_with_the_hand_held():
    def press(statuses):
        wait_until_moving(statuses)
        signal.raise_signal(signal.SIGINT)

    outcome = run(act=press, duration_s=None)
    assert outcome.report.ended == "Ctrl-C: hand held" and outcome.report.exit_status == 0
    assert outcome.report.control.stop_ms < 150


def test_a_killed_policy_is_held_through_and_comes_back():
    killed_ns = []

    def kill(statuses):
        wait_until_moving(statuses)
        os.kill(children()[0], signal.SIGKILL)  # the first child started, the oldest process id
        killed_ns.append(time.monotonic_ns())

    outcome = run(act=kill, duration_s=2.2)
    report = outcome.report
    assert report.exit_status == 0 and report.policy.deaths == ("policy was killed",)
    assert report.control.chunks.holds >= 1 and report.control.chunks.used > 15
    assert any(status.news == "policy was killed" for status in outcome.statuses)
    commands, sent_ns = np.array(outcome.hand.sent), np.array(outcome.hand.sent_ns)
    resting = commands[(sent_ns > killed_ns[0] + 150_000_000) & (sent_ns < killed_ns[0] + 250_000_000)]
    assert len(resting) > 5 and (resting == resting[0]).all()  # held within 3 periods, at rest 100 ms later
    moved = np.abs(np.diff(np.array(outcome.hand.sent)[:, 8])) > 0
    assert moved[-60:].any()  # in the end it moves again


def test_a_killed_camera_is_opened_again_and_the_run_goes_on():
    def kill(statuses):
        wait_until_moving(statuses)
        os.kill(children()[-1], signal.SIGKILL)

    report = run(act=kill, duration_s=1.8).report
    assert report.exit_status == 0 and report.cameras[1].deaths == ("camera wrist was killed",)
    assert report.cameras[1].delivered > 30 and report.cameras[0].deaths == ()


def test_a_policy_slower_than_its_chunks_moves_the_hand_in_stop_and_go():
    outcome = run("latency_ms=280,period_ms=30,joints=3", duration_s=1.8)
    chunks = outcome.report.control.chunks
    assert outcome.report.exit_status == 0
    assert chunks.used == chunks.waited_for >= 2 and chunks.late <= 1 and chunks.actions_dropped == 0
    assert np.ptp(np.array(outcome.hand.sent)[:, 8]) > 0.05
    assert "stop and go: from frame to chunk it takes 0." in outcome.report.notes[-1]


def test_a_camera_that_goes_silent_means_holding_not_guessing():
    cameras = (PatternConfig("static"), PatternConfig("wrist", stop_after=45))
    outcome = run("latency_ms=30,period_ms=40,joints=3", cameras, duration_s=2.2)
    assert outcome.report.control.chunks.holds >= 1
    assert outcome.report.cameras[1].timeouts >= 2 and outcome.report.policy.stale_waits > 0
    assert "hand held" in outcome.report.ended


def test_a_camera_that_shows_the_same_image_again_and_again_is_frozen():
    cameras = (PatternConfig("static"), PatternConfig("wrist", freeze_after=40))
    report = run("latency_ms=30,period_ms=40,joints=3", cameras, duration_s=2.2).report
    assert report.control.chunks.holds >= 1 and report.cameras[1].repeated > 10 and report.exit_status == 0
    assert report.cameras[1].timeouts >= 2 and report.cameras[0].timeouts == 0 and report.policy.stale_waits > 0


def test_an_engine_that_fails_is_built_anew_once():
    report = run("latency_ms=20,joints=3,fail_after=8", duration_s=None).report
    assert report.exit_status == 1 and report.control.held and report.control.chunks.used >= 8
    assert report.ended.startswith("fault: policy failed with status 1 (RuntimeError: CUDA error")
    assert len(report.policy.deaths) == 2


def test_a_machine_that_is_slowed_down_makes_the_policy_run_less_often(tmp_path):
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    for name, text in (
        ("type", "cpu"),
        ("temp", 40_000),
        ("trip_point_0_type", "passive"),
        ("trip_point_0_temp", 90_000),
    ):
        (zone / name).write_text(str(text))

    def heat(statuses):
        while not any(not status.waiting_for for status in statuses):
            time.sleep(0.02)
        (zone / "temp").write_text("91000")

    outcome = run("latency_ms=20,joints=3", act=heat, duration_s=2.0, sysfs=str(tmp_path))
    assert outcome.report.notes[-1] == "throttled: cpu is at its limit of 90 °C"
    assert any("so the policy runs less often: cpu" in status.news for status in outcome.statuses)
    assert outcome.report.exit_status == 0


def test_a_run_answers_prometheus_on_its_socket_until_it_ends(tmp_path):
    path, answers = tmp_path / "metrics.sock", []

    def ask(statuses):
        while not (path.exists() and any(not status.waiting_for for status in statuses)):
            time.sleep(0.02)
        asked(path, b"\x00\xff nonsense\r\n\r\n")
        answers.extend((asked(path), stat.S_IMODE(path.stat().st_mode)))

    report = run(act=ask, duration_s=2.5, metrics=str(path)).report
    head, _, body = answers[0].partition("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200") and answers[1] == 0o600
    assert samples(body)["vpp_edge_control_ticks_total"] > 0 and report.exit_status == 0
    assert not path.exists()


def test_the_loop_can_have_a_core_to_itself():
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("this process may use one core only")
    mine, found = usable[-1], {}

    def look(statuses):
        while not any(not status.waiting_for for status in statuses):
            time.sleep(0.02)
        found["control"] = os.sched_getaffinity(os.getpid())
        found["children"] = [os.sched_getaffinity(pid) for pid in children()]

    assert run(act=look, control_cpu=mine).report.exit_status == 0
    assert found["control"] == {mine} and len(found["children"]) == 3
    assert all(mine not in cores for cores in found["children"])
    assert os.sched_getaffinity(0) == set(usable)
    with pytest.raises(BadInputError, match="--control-cpu 999"):
        run(control_cpu=999)


def test_a_log_tells_every_period_every_chunk_and_some_images(tmp_path):
    reader = pytest.importorskip("mcap.reader")
    path = tmp_path / "run.mcap"
    report = run("latency_ms=30,joints=3,nan_every=7", duration_s=1.5, log=str(path), log_frames_hz=10).report
    assert report.exit_status == 0 and report.log.ticks_lost == report.log.chunks_lost == 0 and report.log.fault == ""
    topics = {}
    with path.open("rb") as file:
        for _, channel, message in reader.make_reader(file).iter_messages():
            topics.setdefault(channel.topic, []).append(json.loads(message.data))
    assert set(topics) == {"/control", "/chunks", "/cameras/static", "/cameras/wrist"}
    ticks, chunks = topics["/control"], topics["/chunks"]
    assert len(ticks) == report.log.ticks >= report.control.loop.ticks and len(chunks) == report.log.chunks
    assert np.diff([tick["monotonic_ns"] for tick in ticks]).min() >= 5_000_000
    assert len(ticks[-1]["command"]) == 10 and {chunk["verdict"] for chunk in chunks} >= {"used", "rejected"}
    assert any(None in target for chunk in chunks for target in chunk["targets"])  # what was NaN
    images = topics["/cameras/wrist"]
    assert 8 <= len(images) <= 40 and base64.b64decode(images[0]["data"])[:2] == b"\xff\xd8"
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap"]


def test_a_live_view_keeps_the_run_beside_the_log(tmp_path):
    pytest.importorskip("rerun")
    path = tmp_path / "run.rrd"
    report = run("latency_ms=30,joints=3,nan_every=7", duration_s=1.0, viewer=str(path)).report
    assert report.exit_status == 0 and report.log.fault == "" and report.log.frames > 3
    assert path.stat().st_size > 20_000 and path.read_bytes()[:3] == b"RRF"


def test_a_view_without_its_library_or_place_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(BadInputError, match="rerun"):
        run(viewer="viewer")


def test_a_log_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    pytest.importorskip("mcap")
    with pytest.raises(BadInputError, match=r"--log .*nowhere/run\.mcap"):
        run(log=str(tmp_path / "nowhere" / "run.mcap"))


def test_the_end_of_a_recording_is_the_end_of_the_run():
    report = run(cameras=(PatternConfig("static"), PatternConfig("wrist", end_after=60)), duration_s=None).report
    assert report.ended == "camera wrist: the recording has ended: hand held" and report.exit_status == 0
    assert report.cameras[1].delivered == 60 and report.cameras[1].deaths == ()


def test_spoiled_chunks_are_rejected_and_the_hand_never_leaves_its_limits():
    report = run("latency_ms=20,joints=3,nan_every=3").report
    assert report.control.chunks.rejected >= 3 and report.control.chunks.used > 5 and report.exit_status == 0


def test_a_policy_that_hangs_is_killed_and_started_again():
    outcome = run("latency_ms=30,joints=3,hang_after=12", duration_s=2.5, policy_silent_s=0.4)
    assert "policy hung and was killed" in outcome.report.policy.deaths[0] and outcome.report.exit_status == 0
    assert outcome.report.control.chunks.used > 12


def test_what_cannot_work_is_refused_with_its_reason():
    cameras = (PatternConfig("static"), PatternConfig("wrist", refuse="no device 1234; found: none"))
    with pytest.raises(BadInputError, match=r"^camera wrist: no device 1234; found: none$"):
        run(cameras=cameras)


def test_waiting_has_an_end_that_names_what_is_missing():
    cameras = (PatternConfig("static"), PatternConfig("wrist", stop_after=0))
    outcome = run(cameras=cameras, start_s=1.2)
    assert outcome.report.exit_status == 1
    assert "after 1.2 s still waiting for the first frame of camera wrist" in outcome.report.ended
    assert "waiting for" in outcome.statuses[0].line()


def test_wrong_use_starts_nothing(tmp_path):
    with pytest.raises(BadInputError, match="got 1 camera, but this policy has 2 views: static, wrist"):
        run(cameras=(PatternConfig(),))
    config = SessionConfig("joints=3", (), PerfectHand(MonotonicClock()), "go", backend="scripted")
    with pytest.raises(BadInputError, match="instruction is empty"):
        replace(config, instruction=" ")
    with pytest.raises(BadInputError, match="rate_hz 0: expected a number from 1 to 1000"):
        replace(config, rate_hz=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="--record"):
        run(record=str(tmp_path / "file" / "below"))


def test_two_cameras_that_cannot_work_are_named_once_and_together():
    missing = [
        PatternConfig(view, refuse=f"camera sdk:{view}: not attached; attached: none") for view in ("static", "wrist")
    ]
    statuses = []
    config = SessionConfig("joints=3", tuple(missing), PerfectHand(MonotonicClock()), "go", backend="scripted")
    with pytest.raises(BadInputError) as caught:
        run_session(config, RunHooks(on_status=statuses.append))
    assert str(caught.value) == ("camera static (sdk:static), camera wrist (sdk:wrist): not attached; attached: none")
    assert not any("not attached" in status.news + status.waiting_for for status in statuses)


def test_a_camera_that_cannot_work_waits_for_no_camera_that_hangs():
    cameras = (PatternConfig("static", refuse="camera sdk:1: broken"), PatternConfig("wrist", stop_after=0))
    with pytest.raises(BadInputError, match=r"^camera static \(sdk:1\): broken$"):
        run(cameras=cameras)


def test_a_dry_run_moves_nothing():
    hand = PerfectHand(MonotonicClock())
    cameras = (PatternConfig("static"), PatternConfig("wrist"))
    config = SessionConfig("joints=3", cameras, hand, "go", 0.5, backend="scripted", dry_run=True)
    report = run_session(config)
    assert hand.sent == [] and hand.held == 0 and "nothing was sent" in report.ended


CONTROL_ALONE = """
import sys, time
sys.path.insert(0, {support!r})
from camera_under_test import PatternConfig
from hands_under_test import PerfectHand
from vpp_edge.clock import MonotonicClock
from vpp_edge.runtime.session.run import run_session
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks

if __name__ == "__main__":
    told = []
    def tell(status):
        if not status.waiting_for and not told:
            told.append(1)
            heavy = {{"torch", "onnxruntime", "av", "mujoco", "diffusers"}} & {{m.split(".")[0] for m in sys.modules}}
            print("moving", sorted(heavy), flush=True)
    cameras = (PatternConfig("static"), PatternConfig("wrist"))
    run_session(
        SessionConfig("joints=3", cameras, PerfectHand(MonotonicClock()), "go", backend="scripted", start_s=10.0),
        RunHooks(on_status=tell),
    )
"""


def test_no_process_and_no_memory_outlives_a_killed_control_process(tmp_path):
    script = tmp_path / "control_alone.py"
    script.write_text(CONTROL_ALONE.format(support=str(Path(camera_under_test.__file__).parent)))
    control = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert control.stdout.readline() == "moving []\n", control.stderr.read()
    pids = [int(p) for p in Path(f"/proc/{control.pid}/task/{control.pid}/children").read_text().split()]
    assert len(pids) >= 3
    control.kill()
    control.wait()
    deadline = time.monotonic() + 5
    while (left := glob.glob(f"/dev/shm/vppe-{control.pid}-*") + alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not zombie(pid)]


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
