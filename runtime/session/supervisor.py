"""The thread beside the control loop that looks after the other processes, the start-up and the status line.

It shares the interpreter with the loop, so it sleeps on the children's sentinels and does little when it wakes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vpp_edge.runtime.control.channel_link import SharedLink
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.ipc.channels import OPENING, RUNNING, WORKING, Channels, read_frame
from vpp_edge.runtime.ipc.child import Child, end_children, wait_for_a_death
from vpp_edge.runtime.ipc.real_time import keep_pace_with_loop
from vpp_edge.runtime.session.systemd import ServiceManager
from vpp_edge.runtime.session.throttling import Throttling

WAKE_S = 0.05
STATUS_NS = 500_000_000
HEAT_NS = 500_000_000


@dataclass(frozen=True)
class Status:
    """What the one-line display shows.

    Attributes:
        waiting_for: what is missing before the hand can move, in words; empty while it moves.
    """

    seconds: float
    waiting_for: str
    policy_hz: float
    loop_hz: float
    late_share: float
    chunks: int
    news: str = ""

    def line(self) -> str:
        if self.waiting_for:
            return f"{self.seconds:5.1f} s  waiting for {self.waiting_for}"
        return (
            f"{self.seconds:5.1f} s  policy {self.policy_hz:.1f} Hz  loop {self.loop_hz:.1f} Hz  "
            f"late {self.late_share:.2%}  chunks {self.chunks}"
        )


@dataclass(frozen=True)
class Snapshot:
    """The run at one moment, for pictures.

    Attributes:
        images: per view (height, width, 3) uint8 RGB, or None before its first frame.
        vector: (7 + J,) measured state; `command`: (7 + J,) what was sent.
        seconds: since the session began.
    """

    images: list
    vector: object
    command: object
    seconds: float


@dataclass(frozen=True)
class Watch:
    """What the supervisor does beside looking after the children.

    Attributes:
        start_ns: longest time to the first chunk.
        on_status: called twice a second, and at once with news; may print.
        on_snapshot: called every `snapshot_ns`; must be quick, it shares the interpreter with the loop.
        on_look: called 20 times a second, for who takes the hand from one episode to the next; as quick.
    """

    start_ns: int
    on_status: Callable[[Status], None] | None = None
    on_snapshot: Callable[[Snapshot], None] | None = None
    snapshot_ns: int = 100_000_000
    on_look: Callable[[ControlLoop, Channels], None] | None = None


class Supervisor(threading.Thread):
    """Runs from `start()` to `finish()`. The children have been started before."""

    def __init__(
        self,
        loop: ControlLoop,
        link: SharedLink,
        channels: Channels,
        children: list[Child],
        policy: Child,
        watch: Watch,
        throttling: Throttling,
        real_time: bool = True,
    ) -> None:
        super().__init__(name="vpp-edge supervisor", daemon=True)
        self._loop, self._link, self._channels = loop, link, channels
        self._children, self._policy, self._watch, self._throttling = children, policy, watch, throttling
        self._real_time, self._service = real_time, ServiceManager()
        self._finished = threading.Event()
        self._begun_ns = time.monotonic_ns()
        self._status_ns = self._snapshot_ns = self._heat_ns = 0
        self.throttled: list[str] = []  # why the policy thought less often for a while
        self.hopeless = ""  # why a child can never work as it was asked

    def finish(self) -> None:
        """Ends the children, then the thread."""
        self._service.stopping("the loop has ended, the hand is held")
        self._finished.set()
        self.join()

    def run(self) -> None:
        if self._real_time:
            keep_pace_with_loop()
        try:
            while not self._finished.is_set():
                wait_for_a_death(self._children, WAKE_S)
                if not self._finished.is_set():
                    self._look(time.monotonic_ns())
        except Exception as error:  # noqa: BLE001 - without its supervisor the run must not go on
            self._loop.request_stop(f"bug in the supervisor: {type(error).__name__}: {error}", failed=True)
        # Here, because the kernel kills a child when the thread that started it ends (realtime.die_with_parent).
        self._finished.wait()
        self._channels.orders["stopping"] = 1
        end_children(self._children)

    def _look(self, now_ns: int) -> None:
        news = self._look_for_heat(now_ns)
        for child in self._children:
            death = child.watch(now_ns)
            if death is None:
                continue
            news = death
            if child is self._policy:
                self._loop.interrupt()
            if child.finished:
                self._loop.request_stop(death)
            elif child.given_up and child.settings.restart:
                self.hopeless = f"{child.name}: {child.note or death}"
                self._loop.request_stop(f"fault: {death}", failed=True)
        waiting_for = "" if self._loop.moving else self._missing()
        self._tell_service(now_ns, waiting_for)
        self._publish_counts()
        if waiting_for and now_ns - self._begun_ns > self._watch.start_ns:
            seconds = self._watch.start_ns / 1e9
            self._loop.request_stop(f"fault: after {seconds:g} s still waiting for {waiting_for}", failed=True)
        if self._watch.on_status is not None and (news or now_ns - self._status_ns >= STATUS_NS):
            self._status_ns = now_ns
            self._watch.on_status(self._status(now_ns, waiting_for, news))
        if self._watch.on_look is not None:
            self._watch.on_look(self._loop, self._channels)
        if self._watch.on_snapshot is not None and now_ns - self._snapshot_ns >= self._watch.snapshot_ns:
            self._snapshot_ns = now_ns
            self._take_snapshot(now_ns)

    def _look_for_heat(self, now_ns: int) -> str:
        """Lets the policy think less often while the machine is slowed down; news when that has begun or ended."""
        if now_ns - self._heat_ns < HEAT_NS:
            return ""
        self._heat_ns = now_ns
        causes, before = self._throttling.causes(), self._channels.orders["hot"]
        self._channels.orders["hot"] = int(bool(causes))
        if causes and not before:
            self.throttled.append(", ".join(causes))
            return f"the machine is slowed down, the policy thinks less often: {self.throttled[-1]}"
        return "the machine is as fast as before" if before and not causes else ""

    def _missing(self) -> str:
        """What stands between here and the first chunk, in words."""
        parts = []
        for camera in self._channels.cameras:
            if not camera.frames.sequence:
                child = next((c for c in self._children if c.name == f"camera {camera.name}"), None)
                trouble = f" ({child.deaths[-1]})" if child is not None and child.deaths else ""
                parts.append(f"the first frame of camera {camera.name}{trouble}")
        phase = self._policy.phase
        trouble = f" ({self._policy.deaths[-1]})" if self._policy.deaths else ""
        if phase not in (RUNNING, WORKING):
            parts.append(f"the policy to {'load' if phase == OPENING else 'start'}{trouble}")
        elif not parts:
            parts.append(f"the first usable chunk ({self._chunk_trouble()})")
        return ", ".join(parts)

    def _chunk_trouble(self) -> str:
        loop, board = self._loop, self._channels.policy
        if loop.late:
            age_s = self._link.latencies()["observation to chunk"].p50_ms / 1e3
            return (
                f"{loop.late} came when all their actions had passed: frame to chunk takes {age_s:.2f} s, a chunk "
                f"lasts {loop.chunk_s:.2f} s; use a faster backend or more --threads"
            )
        return (
            f"{board['inferences']} computed, {loop.rejected} rejected, {loop.old} old, "
            f"{board['stale_waits']} waits on stale frames, {board['apart_waits']} on frames too far apart"
        )

    def _publish_counts(self) -> None:
        loop, board = self._loop, self._channels.loop
        counts = loop.statistics
        board["ticks"], board["missed"], board["late"] = counts.ticks, counts.missed, counts.late
        board["moving"], board["holds"], board["used"] = int(loop.moving), loop.holds, loop.used
        board["rejected"], board["too_late"], board["old"] = loop.rejected, loop.late, loop.old

    def _tell_service(self, now_ns: int, waiting_for: str) -> None:
        if self._service.listens:
            status = self._status(now_ns, waiting_for, "").line().strip()
            self._service.look(self._loop.statistics.ticks, self._loop.moving, status)

    def _status(self, now_ns: int, waiting_for: str, news: str) -> Status:
        statistics = self._loop.statistics
        return Status(
            seconds=(now_ns - (self._loop.started_ns or self._begun_ns)) / 1e9,
            waiting_for=waiting_for,
            policy_hz=self._link.rate_hz,
            loop_hz=statistics.rate_hz,
            late_share=statistics.late_share,
            chunks=self._loop.used,
            news=news,
        )

    def _take_snapshot(self, now_ns: int) -> None:
        state = self._channels.states.read(lambda record: (record["vector"].copy(), record["command"].copy()))
        if state is None or self._watch.on_snapshot is None:
            return
        frames = [read_frame(camera.frames) for camera in self._channels.cameras]
        images = [None if frame is None else frame.value.image for frame in frames]
        self._watch.on_snapshot(Snapshot(images, *state.value, (now_ns - self._begun_ns) / 1e9))
