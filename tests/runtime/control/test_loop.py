"""The control loop: deadlines, chunks, limits, and the one way out, on a fake clock and on the real one."""

from __future__ import annotations

import gc
import signal
import threading
import time

import numpy as np
import pytest
from hands_under_test import HOME, LIMITS, PerfectHand, assert_within_limits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vpp_edge.clock import FakeClock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.control.contract import Cause, ControlSettings
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.ipc.real_time import quiet_interpreter, real_time_thread

pytestmark = pytest.mark.live

MS = 1_000_000
STEP = np.array([0.005, 0, 0, 0, 0, 0, 0, 0.02, 0.05, 0])


class ScriptedLink:
    """Gives chunks at their times and keeps everything that the loop reports. `on_tick(number)` may do anything."""

    def __init__(self, clock, arrivals=(), on_tick=lambda number: None):
        self.clock, self.arrivals, self.on_tick = clock, sorted(arrivals, key=lambda a: a[0]), on_tick
        self.ticks, self.verdicts, self.published, self.lost = [], [], 0, False

    def take_chunk(self):
        if self.arrivals and self.arrivals[0][0] <= self.clock.now_ns():
            return self.arrivals.pop(0)[1]
        return None

    def chunks_lost(self):
        return 0

    def policy_lost(self):
        lost, self.lost = self.lost, False
        return lost

    def publish(self, state, command, loop_state):
        self.published += 1

    def log_tick(self, slot_ns, late_ns, state, command, holding):
        self.ticks.append((slot_ns, late_ns, holding))
        self.on_tick(len(self.ticks))

    def log_chunk(self, chunk, now_ns, verdict, dropped):
        self.verdicts.append((verdict, dropped))


def chunk_at(observed_ns, request, anchor=HOME, step=STEP, episode=1):
    return Chunk(anchor + np.arange(1, 5)[:, None] * step, anchor.copy(), observed_ns, request, episode)


def fake_loop(arrivals=(), on_tick=lambda number: None, **options):
    clock = FakeClock(5_000 * MS)
    hand, link = PerfectHand(clock), ScriptedLink(clock, [(5_000 * MS + t * MS, c) for t, c in arrivals], on_tick)
    loop = ControlLoop(hand, link, clock, 4, 100 * MS, ControlSettings(**options))
    return loop, hand, link, clock


def at(ms):
    return 5_000 * MS + ms * MS


def test_runs_on_the_grid_executes_chunks_and_holds_at_the_end_of_the_duration():
    arrivals = [(100, chunk_at(at(50), 1)), (300, chunk_at(at(250), 2, HOME + 2 * STEP))]
    loop, hand, link, _ = fake_loop(arrivals, duration_ns=1_000 * MS)
    report = loop.run()
    assert report.ended == "end of the duration: hand held" and not report.failed and hand.held == 1
    assert report.cause == Cause.DURATION
    assert report.loop.ticks == 101 and report.loop.missed == 0 and report.loop.rate_hz == pytest.approx(100)
    assert [v for v, _ in link.verdicts] == ["used", "used"]
    assert np.ptp(np.diff([t[0] for t in link.ticks])) == 0
    np.testing.assert_allclose(hand.pose[7:], (HOME + 6 * STEP)[7:], atol=0.02)  # rests where the second chunk ended
    assert report.chunks.holds == 1 and link.ticks[-1][2]
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_an_exhausted_chunk_ends_at_rest_within_100_ms_and_never_jumps():
    loop, hand, link, _ = fake_loop([(0, chunk_at(at(0), 1))], duration_ns=800 * MS)
    loop.run()
    path = np.array(hand.sent)
    exhausted = next(i for i, tick in enumerate(link.ticks) if i > 0 and tick[2])
    np.testing.assert_array_equal(path[exhausted + 10], path[-1])
    assert np.abs(np.diff(path[exhausted - 1 :, 7:], axis=0)).max() < 0.02


def test_overrun_skips_the_missed_slots_without_a_burst():
    def stall(number):
        if number == 30:
            clock.advance_ns(57 * MS)

    loop, hand, link, clock = fake_loop([(0, chunk_at(at(0), 1))], stall, duration_ns=1_000 * MS)
    report = loop.run()
    assert report.loop.missed == 6 and report.loop.longest_miss_run == 6
    assert report.loop.ticks + report.loop.missed == 101
    slots = np.diff([t[0] for t in link.ticks]) / MS
    assert sorted(set(slots)) == [
        10,
        70,
    ]  # the slot 3 ms after the stall is left out too: two commands would be a burst
    assert report.loop.late == 6 and report.loop.lateness_ms["max"] == 0 and report.loop.work_ms["max"] == 57
    assert np.diff(hand.sent_ns).min() >= 5 * MS
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_five_overruns_in_a_row_stop_the_run_and_four_do_not():
    def stalls(first, last):
        return lambda number: clock.advance_ns(25 * MS) if first <= number <= last else None

    for last, failed in ((33, False), (34, True)):
        loop, hand, _, clock = fake_loop([(0, chunk_at(at(0), 1))], stalls(30, last), duration_ns=500 * MS)
        report = loop.run()
        assert (report.failed, hand.held) == (failed, 1)
        assert ("too late for 5 periods in a row" in report.ended) == (report.cause == Cause.OVERRUN) == failed


def test_a_blocked_joint_stops_the_run_and_is_not_pushed_on():
    def block(number):
        if number == 5:
            hand.stuck_joint = 1

    fast = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0.3, 0])
    loop, hand, _, _ = fake_loop([(0, chunk_at(at(0), 1, step=fast))], block, duration_ns=1_000 * MS)
    report = loop.run()
    assert report.failed and "rad (limit 0.30)" in report.ended and hand.held == 1
    assert report.cause == Cause.OBSTRUCTED
    away = [i for i, pose in enumerate(hand.sent) if abs(pose[8] - hand.pose[8]) > LIMITS.joint_tracking_rad[1]]
    assert len(away) == 9 and away[-1] == len(hand.sent) - 1  # 80 ms, then no more


def test_targets_that_run_away_are_followed_within_the_limits_for_a_second_at_most():
    ends = np.array(LIMITS.wrist_lower_m), np.array(LIMITS.wrist_upper_m)

    def wild(request):
        chunk = chunk_at(at(100 * request), request + 1)
        chunk.targets[:, :3] = [ends[(request + i) % 2] for i in range(4)]
        return chunk

    arrivals = [(100 * i, wild(i)) for i in range(20)]
    loop, hand, _, _ = fake_loop(arrivals, duration_ns=3_000 * MS)
    report = loop.run()
    assert report.failed and "for 1 s targets were further away than the speed limits allow" in report.ended
    assert report.cause == Cause.RUNAWAY
    assert 100 <= report.loop.ticks <= 110 and report.clamps["speed"] >= 100
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_unusable_chunks_are_rejected_and_three_in_a_row_stop_the_run():
    broken = [chunk_at(at(0), i) for i in range(1, 7)]
    for i in (1, 2, 4, 5):
        broken[i].targets[2, 8] = np.nan
    loop, _, _, _ = fake_loop([(10 * i, c) for i, c in enumerate(broken)], duration_ns=300 * MS)
    report = loop.run()
    assert report.chunks.rejected == 4 and report.chunks.used == 2 and not report.failed
    wrong_shape = [Chunk(np.zeros((3, 10)), HOME, at(0), i, 1) for i in range(1, 5)]
    loop, hand, _, _ = fake_loop([(10 * i, c) for i, c in enumerate(wrong_shape)])
    report = loop.run()
    assert report.failed and hand.held == 1
    assert report.ended.startswith("fault: the policy gave 3 unusable chunks in a row: targets (3, 10)")
    assert report.cause == Cause.UNUSABLE_CHUNKS


def test_late_and_old_answers_are_discarded_by_number_episode_and_time():
    arrivals = [
        (0, chunk_at(at(0), 5)),
        (10, chunk_at(at(10), 4)),
        (20, chunk_at(at(-500), 6)),
        (30, chunk_at(at(30), 7, episode=0)),
        (150, chunk_at(at(20), 8)),
    ]
    loop, _, link, _ = fake_loop(arrivals, duration_ns=300 * MS)
    report = loop.run()
    assert link.verdicts == [("used", 0), ("old", 4), ("late", 4), ("old", 4), ("used", 1)]
    assert (report.chunks.used, report.chunks.late, report.chunks.old, report.chunks.actions_dropped) == (2, 1, 2, 1)


def test_a_chunk_for_which_the_hand_waited_is_executed_whole_from_now_on():
    arrivals = [(1000, chunk_at(at(50), 1)), (3000, chunk_at(at(1900), 2)), (5000, chunk_at(at(3100), 3))]
    loop, hand, link, _ = fake_loop(arrivals, duration_ns=5_000 * MS)
    report = loop.run()
    assert link.verdicts == [("used", 0), ("used", 0), ("late", 4)]  # it moved after the third one's observation
    assert report.chunks.waited_for == 2 and report.chunks.used == 2
    moving = np.abs(np.diff(np.array(hand.sent)[:, 8])) > 0
    np.testing.assert_allclose(hand.sent[139][8], (HOME + 4 * STEP)[8], atol=0.01)
    assert moving[102:138].all() and not moving[160:298].any()


def test_a_lost_policy_means_holding_from_the_next_period_on():
    def lose(number):
        link.lost = number == 20

    loop, _, link, _ = fake_loop([(0, chunk_at(at(0), 1)), (250, chunk_at(at(240), 2))], lose, duration_ns=400 * MS)
    report = loop.run()
    holding = [tick[2] for tick in link.ticks]
    assert not any(holding[1:20]) and all(holding[20:])
    assert report.chunks.holds == 1 and report.chunks.old == 1  # what it had thought of before is not played


def test_interrupt_can_take_the_hand_elsewhere_within_the_limits():
    there = HOME + np.array([0.1, -0.05, 0.08, 0, 0, 0, 0, 0.2, 0.4, 0.1])

    def interrupt(number):
        if number == 20:
            assert loop.interrupt(there) == 2

    arrivals = [(0, chunk_at(at(0), 1)), (250, chunk_at(at(250), 2)), (1_000, chunk_at(at(990), 3, there, episode=2))]
    loop, hand, link, _ = fake_loop(arrivals, interrupt, duration_ns=1_800 * MS)
    loop.run()
    assert [v for v, _ in link.verdicts] == ["used", "old", "used"]
    np.testing.assert_allclose(hand.sent[95], there, atol=1e-6)
    np.testing.assert_allclose(hand.sent[-1], there, atol=1e-6)  # and after a chunk of that episode it is held there
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_interrupt_holds_within_a_tick_and_refuses_what_was_on_its_way():
    def interrupt(number):
        if number == 10:
            loop.interrupt()

    arrivals = [(0, chunk_at(at(0), 1)), (150, chunk_at(at(100), 2)), (250, chunk_at(at(200), 3, episode=2))]
    loop, _, link, _ = fake_loop(arrivals, interrupt, duration_ns=400 * MS)
    loop.run()
    assert not link.ticks[9][2] and link.ticks[10][2]
    assert [v for v, _ in link.verdicts] == ["used", "old", "used"]


@pytest.mark.parametrize("after_tick", [0, 25])
def test_a_hand_that_fails_is_still_told_to_hold(after_tick):
    def fail(number):
        if number == after_tick:
            hand.fault_on_read = HardwareFaultError("joint 3 does not answer")

    loop, hand, _, _ = fake_loop([(0, chunk_at(at(0), 1))], fail)
    if not after_tick:
        hand.fault_on_read = HardwareFaultError("joint 3 does not answer")
    report = loop.run()
    assert report.failed and report.held and hand.held == 1
    assert report.ended == "fault: joint 3 does not answer: hand held" and report.cause == Cause.HAND_FAULT
    assert loop.limiter.at_rest


def test_a_bug_is_raised_after_the_hand_was_held():
    def bug(number):
        if number == 20:
            raise ZeroDivisionError("a bug of ours")

    loop, hand, _, _ = fake_loop([(0, chunk_at(at(0), 1))], bug)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert hand.held == 1
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_stop_is_reached_in_time_even_when_moving_fast():
    def stop(number):
        if number == 15:
            loop.request_stop("Ctrl-C")
            loop.request_stop("too late to count")

    loop, hand, _, _ = fake_loop([(0, chunk_at(at(0), 1, step=20 * STEP))], stop)
    report = loop.run()
    assert report.ended == "Ctrl-C: hand held" and not report.failed and report.stop_ms <= 110
    assert report.cause == Cause.REQUESTED
    assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_a_dry_run_sends_nothing():
    loop, hand, link, _ = fake_loop([(0, chunk_at(at(0), 1))], dry_run=True, duration_ns=300 * MS)
    report = loop.run()
    assert hand.sent == [] and hand.held == 0 and "nothing was sent" in report.ended and link.published > 30


def test_settings_that_make_no_loop_are_refused():
    with pytest.raises(BadInputError, match="period_ns is 0"):
        ControlSettings(period_ns=0)
    with pytest.raises(BadInputError, match="duration_ns"):
        ControlSettings(duration_ns=-1)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(-600, 100), st.floats(-3, 3), st.sampled_from([0, 1, 2, np.nan, 1e308])
        ),
        max_size=12,
    ),
    st.sets(st.integers(1, 60), max_size=5),
)
@example([(0, 0, 0.0, np.nan)] * 3, set())
def test_no_stream_of_chunks_and_stalls_breaks_a_limit(stream, stalls):
    def stall(number):
        if number in stalls:
            clock.advance_ns(number * MS)
        if number == 40:
            loop.interrupt()
        if number == 80:
            loop.request_stop("enough")

    arrivals = []
    for request, (time_ms, age_ms, size, poison) in enumerate(stream):
        chunk = chunk_at(at(time_ms + age_ms), request, step=STEP * size, episode=1 + (time_ms > 400))
        chunk.targets[1, 8] += poison
        arrivals.append((time_ms, chunk))
    loop, hand, _, clock = fake_loop(arrivals, stall)
    loop.run()
    assert hand.held == 1
    if hand.sent:  # three refused chunks end a run before it has begun to move
        assert_within_limits([HOME, *hand.sent], 10 * MS)


def test_keeps_100_hz_on_the_real_clock_and_stops_on_a_signal():
    clock = MonotonicClock()
    start_ns = clock.now_ns() + 200 * MS
    arrivals = [(start_ns + i * 100 * MS, chunk_at(start_ns + i * 100 * MS, i, HOME + 0 * STEP)) for i in range(20)]
    hand, link = PerfectHand(clock), ScriptedLink(clock, arrivals)
    loop = ControlLoop(hand, link, clock, 4, 100 * MS, ControlSettings())
    before = signal.signal(signal.SIGINT, lambda *_: loop.request_stop("Ctrl-C"))
    try:
        with quiet_interpreter(), real_time_thread() as notes:
            assert not gc.isenabled()
            threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
            report = loop.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert gc.isenabled() and len(notes) == 2
    assert report.ended == "Ctrl-C: hand held" and hand.held == 1
    assert report.loop.ticks + report.loop.missed == pytest.approx(
        90, abs=15
    )  # from the first chunk on, 0 to 200 ms later
    assert time.monotonic_ns() - start_ns < 3_000 * MS
