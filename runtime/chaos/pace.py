"""How fast the policy under test answers, measured in a run without faults, and how long trials therefore wait for it.

Every window of a trial that depends on the policy comes from here.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from vpp_edge.errors import CheckFailedError, InconclusiveError
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.report import RunReport
from vpp_edge.runtime.session.run import run_session

if TYPE_CHECKING:
    from vpp_edge.runtime.chaos.trial import TrialSetup

SPARE_S = 2.0  # a busy machine
SLACK = 2.0  # a policy may be this much slower in a trial than when it was measured
NEXT_S = 0.5  # from when the hand rests or a frame arrives to the start of an inference, and then some
MEASURED = 4  # answers
LEAST_S = 1.0  # of measuring, for policies with many answers in a second
MAX_START_S = 300.0  # engines of the full size take minutes to load
LONGEST_ANSWER_S = 40.0  # the runtime itself gives an inference up after 60 s


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a policy takes; by default a quick one.

    Attributes:
        answer_s: from an observation to its chunk, at the slowest.
        interval_s: from one answer to the next at the slowest, with the pauses of a policy slower than its chunks.
        chunk_s: how long a chunk lasts.
        load_s: from the start of a run to the first answer.
    """

    answer_s: float = 0.1
    interval_s: float = 0.1
    chunk_s: float = 0.8
    load_s: float = 1.0

    @property
    def committed_s(self) -> float:
        """How long the hand may move on from what was observed before a fault: an inference, then its chunk."""
        return self.answer_s + self.chunk_s

    def watch_s(self, least_s: float) -> float:
        """How long to watch so that without a fault at least one inference would begin."""
        return max(least_s, self.interval_s + NEXT_S)

    def patience_s(self, answers: int, loads: int = 0) -> float:
        """How long to wait for so many answers, some of them after loading the policy, before giving up."""
        return SPARE_S + SLACK * (answers * (self.interval_s + self.chunk_s) + loads * self.load_s)

    @property
    def start_s(self) -> float:
        """How long to wait for the first answer of a run."""
        return min(MAX_START_S, LONGEST_ANSWER_S + self.patience_s(answers=1, loads=1))

    def to_json(self) -> dict[str, float]:
        """Plain numbers."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        pauses = "; slower than its chunks, so the hand moves with pauses" if self.answer_s > self.chunk_s else ""
        return (
            f"without a fault the policy answers within {self.answer_s:.2f} s, at least every {self.interval_s:.2f} s; "
            f"a chunk lasts {self.chunk_s:.2f} s{pauses}"
        )


def measure_pace(setup: TrialSetup) -> Pace:
    """Runs without faults until the policy has answered a few times.

    Raises:
        InconclusiveError: the policy gave no answer in time, so no trial could see what its answers lead to.
        CheckFailedError: the run ended by itself, or did not let the policy answer.
        KeyboardInterrupt: a signal ended the run.
        Exception: whatever `run_session` raises.
    """
    answers = _Answers()
    with closing(setup.open_hand()) as hand:
        config = replace(setup.config(hand), start_s=MAX_START_S)
        begun_ns = time.monotonic_ns()
        report = run_session(config, RunHooks(on_poll=answers.poll))
    stop_if_interrupted(report)
    if answers.silent:
        raise InconclusiveError(f"without any fault, {answers.silent}")
    if report.control.cause == Cause.NO_FIRST_CHUNK and not answers.loaded:
        raise InconclusiveError(f"without any fault, the policy did not load: {report.ended}")
    if not answers.complete:
        raise CheckFailedError(f"the run ended before anything was injected: {report.ended}")
    return Pace(
        answer_s=report.policy.stages["observation to chunk"].max_ms / 1e3,
        interval_s=max(later - earlier for earlier, later in pairwise(answers.times_ns)) / 1e9,
        chunk_s=answers.chunk_s,
        load_s=(answers.times_ns[0] - begun_ns) / 1e9,
    )


def stop_if_interrupted(report: RunReport) -> None:
    """Raises KeyboardInterrupt if a signal came during the run: it is for the whole command."""
    if report.signals:
        raise KeyboardInterrupt(report.signals[0])


class _Answers:
    """Watches a run and ends it after MEASURED answers, or when they do not come.

    Attributes:
        times_ns: when each answer was noticed.
        loaded: whether the policy could answer at all.
        complete: whether there were enough answers.
        silent: why there were not, if it was the policy that did not answer; else empty.
    """

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        self.loaded, self.complete, self.silent, self.chunk_s = False, False, "", 0.0
        self._count = self._since_ns = 0

    def poll(self, loop: ControlLoop, channels: Channels) -> None:
        now_ns, board = time.monotonic_ns(), channels.policy
        self.chunk_s = loop.chunk_s
        if board["inferences"] > self._count:
            self._count, self._since_ns = board["inferences"], now_ns
            self.times_ns.append(now_ns)
        if not self.loaded and Phase(board["phase"]).ready:
            self.loaded, self._since_ns = True, now_ns
        if len(self.times_ns) > MEASURED and loop.moving and now_ns - self.times_ns[0] >= LEAST_S * 1e9:
            self.complete = True
            loop.request_stop("the policy was measured")
        elif self.loaded and now_ns - self._since_ns >= LONGEST_ANSWER_S * 1e9:
            self._give_up(loop, busy=board["phase"] == Phase.WORKING)

    def _give_up(self, loop: ControlLoop, busy: bool) -> None:
        answers = f"{self._count} answers, then none" if self._count else "no answer"
        said = f"the policy gave {answers} for {LONGEST_ANSWER_S:g} s"
        if busy:
            self.silent = f"{said}; use a faster backend or more --threads, or look where it hangs"
        loop.request_stop(f"{said}, though no inference was going on")
