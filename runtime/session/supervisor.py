"""The thread beside the control loop that watches the child processes, the start-up and the status line.

It shares the interpreter with the loop, so it sleeps on the children's sentinels and does little when it wakes.
"""

from __future__ import annotations

import threading
import time

from vpp_edge.machine_limits import limit_behind
from vpp_edge.runtime.control.channel_link import ChannelLink
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_process import ChildProcess, end_children, wait_for_exit
from vpp_edge.runtime.ipc.codecs import read_frame, read_note
from vpp_edge.runtime.ipc.counters import LoopCounts, write_counts
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.ipc.real_time import keep_pace_with_loop
from vpp_edge.runtime.session.children import Children
from vpp_edge.runtime.session.hooks import RunHooks, Snapshot, Status
from vpp_edge.runtime.session.systemd import SystemdNotifier
from vpp_edge.runtime.session.throttling import Throttling
from vpp_edge.wording import counted

WAKE_S = 0.05
STATUS_NS = 500_000_000
THROTTLING_NS = 500_000_000
GATHER_NS = 1_500_000_000  # from the first camera that cannot work to the end: the others are named in the same error


class Supervisor(threading.Thread):
    """Runs from `start()` to `finish()`. The children must have been started before.

    Args:
        start_ns: longest time to the first chunk.

    Attributes:
        unread: what the policy did not read of its instructions, one sentence each.
        throttled: why the policy's rate was lowered for a while, one entry each time.
        hopeless: which children can never work with their settings, and why; empty otherwise.
    """

    def __init__(
        self,
        loop: ControlLoop,
        link: ChannelLink,
        channels: Channels,
        children: Children,
        *,
        hooks: RunHooks,
        throttling: Throttling,
        start_ns: int,
        real_time: bool = True,
    ) -> None:
        super().__init__(name="vpp-edge supervisor", daemon=True)
        self._loop, self._link, self._channels = loop, link, channels
        self._children, self._hooks, self._throttling = children, hooks, throttling
        self._start_ns, self._real_time, self._systemd = start_ns, real_time, SystemdNotifier()
        self._finished = threading.Event()
        self._begun_ns = time.monotonic_ns()
        self._status_ns = self._snapshot_ns = self._throttling_ns = 0
        self.throttled: list[str] = []
        self.unread: list[str] = []
        self._hopeless: dict[str, str] = {}
        self._hopeless_ns = 0

    @property
    def hopeless(self) -> str:
        names = (child.name for child in self._children)  # in the order of the views
        return one_sentence({name: self._hopeless[name] for name in names if name in self._hopeless})

    def finish(self) -> None:
        """Ends the children, then the thread."""
        self._systemd.stopping("the loop has ended, the hand is held")
        self._finished.set()
        self.join()

    def run(self) -> None:
        if self._real_time:
            keep_pace_with_loop()
        children = list(self._children)
        try:
            while not self._finished.is_set():
                wait_for_exit(children, WAKE_S)
                if not self._finished.is_set():
                    self._poll(time.monotonic_ns())
        except Exception as error:  # noqa: BLE001 - without its supervisor the run must not go on
            bug = f"bug in the supervisor: {type(error).__name__}: {error}"
            reason = f"fault: {limit_behind(error) or bug}"
            self._loop.request_stop(reason, failed=True, cause=Cause.BUG)
        # In this thread, because the kernel kills a child when the thread that started it ends (die_with_parent).
        self._finished.wait()
        self._channels.orders["stopping"] = 1
        end_children(children)

    def _poll(self, now_ns: int) -> None:
        found = [self._check_throttling(now_ns), *(self._watch(child, now_ns) for child in self._children)]
        self._end_if_hopeless(now_ns)
        news = "; ".join(filter(None, [*found, self._check_instruction()]))
        waiting_for = "" if self._loop.moving else self._missing()
        self._notify_systemd(now_ns, waiting_for)
        self._publish_counts()
        if waiting_for and now_ns - self._begun_ns > self._start_ns:
            seconds = self._start_ns / 1e9
            deaths = [child.deaths[-1] for child in self._children if child.deaths]
            causes = f" ({'; '.join(deaths)})" if deaths else ""
            reason = f"fault: after {seconds:g} s still waiting for {waiting_for}{causes}"
            self._loop.request_stop(reason, failed=True, cause=Cause.NO_FIRST_CHUNK)
        self._call_hooks(now_ns, waiting_for, news)

    def _watch(self, child: ChildProcess, now_ns: int) -> str:
        """Restarts a child that died; why it has just died, or nothing where the end of the run will say so."""
        death = child.watch(now_ns)
        if death is None:
            return ""
        if child is self._children.policy:
            self._loop.interrupt()
        if child.finished:
            self._loop.request_stop(death)
        elif child.given_up and child.settings.restart:
            self._hopeless[child.name] = child.note or death
            self._hopeless_ns = self._hopeless_ns or now_ns
            if not self._loop.moving:
                return ""
            self._loop.request_stop(f"fault: {death}", failed=True, cause=Cause.CHILD_FAILED)
        return death

    def _end_if_hopeless(self, now_ns: int) -> None:
        """Ends a run that cannot begin since a child can never work, once the other cameras have tried too."""
        opening = any(child.phase in (Phase.STARTING, Phase.OPENING) for child in self._children.cameras)
        if self._hopeless and (not opening or now_ns - self._hopeless_ns > GATHER_NS):
            self._loop.request_stop(f"fault: {self.hopeless}", failed=True, cause=Cause.CHILD_FAILED)

    def _call_hooks(self, now_ns: int, waiting_for: str, news: str) -> None:
        hooks = self._hooks
        if hooks.on_status is not None and (news or now_ns - self._status_ns >= STATUS_NS):
            self._status_ns = now_ns
            hooks.on_status(self._status(now_ns, waiting_for, news))
        if hooks.on_poll is not None:
            hooks.on_poll(self._loop, self._channels)
        if hooks.on_snapshot is not None and now_ns - self._snapshot_ns >= hooks.snapshot_ns:
            self._snapshot_ns = now_ns
            if (snapshot := self._snapshot(now_ns)) is not None:
                hooks.on_snapshot(snapshot)

    def _check_throttling(self, now_ns: int) -> str:
        """Lowers the policy's rate while the machine is slowed down; news when that has begun or ended."""
        if now_ns - self._throttling_ns < THROTTLING_NS:
            return ""
        self._throttling_ns = now_ns
        causes, before = self._throttling.causes(), self._channels.orders["hot"]
        self._channels.orders["hot"] = int(bool(causes))
        if causes and not before:
            self.throttled.append(", ".join(causes))
            return f"the machine is slowed down, so the policy runs less often: {self.throttled[-1]}"
        return "the machine is as fast as before" if before and not causes else ""

    def _check_instruction(self) -> str:
        """What the policy does not read of its instruction, the first time that it says so."""
        note = read_note(self._channels.instruction_note)
        if not note or note in self.unread:
            return ""
        self.unread.append(note)
        return note

    def _missing(self) -> str:
        """What is missing before the first chunk can be used."""
        views = [camera.name for camera in self._channels.cameras if not camera.frames.sequence]
        parts = []
        if views:
            parts.append(f"the first frame of {'camera' if len(views) == 1 else 'cameras'} {', '.join(views)}")
        policy = self._children.policy
        if not policy.phase.ready:
            parts.append(f"the policy to {'load' if policy.phase == Phase.OPENING else 'start'}")
        elif not parts:
            parts.append(f"the first usable chunk ({self._chunk_trouble()})")
        return " and ".join(parts)

    def _chunk_trouble(self) -> str:
        loop, board = self._loop, self._channels.policy
        if loop.counts.late:
            age_s = self._link.latencies()["observation to chunk"].p50_ms / 1e3
            return (
                f"{loop.counts.late} arrived after the time of all their actions: frame to chunk takes {age_s:.2f} s, "
                f"a chunk lasts {loop.chunk_s:.2f} s; use a faster backend or more --threads"
            )
        return (
            f"{board['inferences']} computed, {loop.counts.rejected} rejected, {loop.counts.old} old, "
            f"{counted(board['stale_waits'], 'wait')} on stale frames, {board['apart_waits']} on frames too far apart"
        )

    def _publish_counts(self) -> None:
        statistics = self._loop.statistics
        counts = LoopCounts(
            ticks=statistics.ticks,
            missed=statistics.missed,
            late_ticks=statistics.late,
            late_limit_ns=statistics.late_limit_ns,
            moving=int(self._loop.moving),
        )
        write_counts(self._channels.loop, counts)
        write_counts(self._channels.loop, self._loop.counts)

    def _notify_systemd(self, now_ns: int, waiting_for: str) -> None:
        if self._systemd.listens:
            status = self._status(now_ns, waiting_for, "").line().strip()
            self._systemd.notify(self._loop.statistics.ticks, self._loop.moving, status)

    def _status(self, now_ns: int, waiting_for: str, news: str) -> Status:
        statistics = self._loop.statistics
        return Status(
            seconds=(now_ns - (self._loop.started_ns or self._begun_ns)) / 1e9,
            waiting_for=waiting_for,
            policy_hz=self._link.rate_hz,
            loop_hz=statistics.rate_hz,
            late_share=statistics.late_share,
            chunks=self._loop.counts.used,
            news=news,
        )

    def _snapshot(self, now_ns: int) -> Snapshot | None:
        state = self._channels.states.read(lambda record: (record["vector"].copy(), record["command"].copy()))
        if state is None:
            return None
        frames = [read_frame(camera.frames) for camera in self._channels.cameras]
        vector, command = state.value
        return Snapshot(
            images=[None if frame is None else frame.value.image for frame in frames],
            vector=vector,
            command=command,
            seconds=(now_ns - self._begun_ns) / 1e9,
        )


def one_sentence(causes: dict[str, str]) -> str:
    """Why children failed, by their names; a cause that several share is said once.

    `camera static (realsense:1), camera wrist (realsense:2): not attached; ...`
    """
    names: dict[str, list[str]] = {}
    for child, cause in causes.items():
        source, colon, rest = cause.partition(": ")
        named = colon and source.startswith("camera ")
        names.setdefault(rest if named else cause, []).append(
            f"{child} ({source.removeprefix('camera ')})" if named else child
        )
    return "; ".join(f"{', '.join(children)}: {cause}" for cause, children in names.items())
