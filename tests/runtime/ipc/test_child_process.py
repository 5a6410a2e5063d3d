"""A child process whose restart the system refuses: said with the limit, and tried again."""

from __future__ import annotations

import errno
import time

import pytest

from vpp_edge.runtime.ipc.child_process import FIRST_PAUSE_NS, ChildProcess, ChildSettings
from vpp_edge.runtime.ipc.dtypes import NOTE
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot

pytestmark = pytest.mark.live
REFUSALS = {
    "process": BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    "thread": RuntimeError("can't start new thread"),
    "memory": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.fixture
def child():
    board, note = Board(("phase", "heartbeat_ns", "pid")), NewestSlot(NOTE)
    child = ChildProcess(ChildSettings("camera static"), lambda generation: (time.sleep, (0,)), board, note)
    child.generation = 1  # it ran before and died
    yield child
    child.end(0)
    board.close()
    note.close()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refused_restart_is_a_death_with_its_cause_and_is_tried_again(child, monkeypatch, refusal) -> None:
    starts = []

    def start() -> None:
        starts.append(1)
        raise refusal

    monkeypatch.setattr(child, "start", start)
    now_ns = time.monotonic_ns()
    death = child.watch(now_ns)
    assert death.startswith("camera static could not be started: th") and child.deaths == [death]
    assert not child.given_up
    assert child.watch(now_ns) is None and len(starts) == 1
    assert child.watch(now_ns + FIRST_PAUSE_NS) and len(starts) == 2


def test_any_other_error_of_a_restart_is_a_bug(child, monkeypatch) -> None:
    def start() -> None:
        raise ValueError("no such target")

    monkeypatch.setattr(child, "start", start)
    with pytest.raises(ValueError, match="no such target"):
        child.watch(time.monotonic_ns())
