"""The policy looks at one frame per view, all fresh and of one moment, and at none twice for nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import FRAME_DEPTH, Channels
from vpp_edge.runtime.ipc.codecs import write_frame
from vpp_edge.runtime.policy.frame_sync import FrameSync

pytestmark = pytest.mark.live

MS = 1_000_000
PERIOD_NS = 10_000 * MS  # long, so that a busy machine is still within the first two


class Stage:
    """Two cameras whose frames are written by hand, at moments in periods before now."""

    def __init__(self, channels: Channels) -> None:
        self.channels, self.now_ns = channels, time.monotonic_ns()
        self.sync = FrameSync(channels, (PERIOD_NS, PERIOD_NS))

    def show(self, view: int, periods_ago: float, number: int) -> None:
        image = np.full((4, 4, 3), number, np.uint8)
        write_frame(
            self.channels.cameras[view].frames, Frame(image, number, self.now_ns - int(periods_ago * PERIOD_NS))
        )

    def numbers(self) -> list[int] | None:
        frames = self.sync.latest()
        if frames is None:
            return None
        self.sync.mark_used(frames)
        return [message.value.number for message in frames]


@pytest.fixture
def stage() -> Iterator[Stage]:
    channels = Channels.create(("static", "wrist"), 8, 10)
    yield Stage(channels)
    channels.close()


def test_nothing_is_seen_before_every_view_has_a_frame(stage: Stage) -> None:
    assert stage.numbers() is None
    stage.show(0, 0, 1)
    assert stage.numbers() is None
    stage.show(1, 0, 1)
    assert stage.numbers() == [1, 1]


def test_a_pair_is_taken_once_and_one_new_frame_is_enough_for_the_next(stage: Stage) -> None:
    stage.show(0, 1, 1)
    stage.show(1, 1, 1)
    assert stage.numbers() == [1, 1] and stage.numbers() is None
    stage.show(1, 0.5, 2)
    assert stage.numbers() == [1, 2] and stage.numbers() is None
    board = stage.channels.policy
    assert (board["used_static"], board["used_wrist"]) == (1, 2)


def test_where_only_an_old_pair_belongs_together_it_is_not_taken_again(stage: Stage) -> None:
    stage.show(0, 1.5, 1)
    stage.show(1, 1.5, 1)
    assert stage.numbers() == [1, 1]
    stage.show(0, 0.1, 2)
    assert stage.numbers() is None and stage.numbers() is None


def test_a_view_that_is_late_is_paired_with_what_the_other_one_saw_then(stage: Stage) -> None:
    for number in range(1, FRAME_DEPTH + 1):
        stage.show(0, 0.3 * (FRAME_DEPTH - number), number)
    stage.show(1, 1.2, 7)
    assert stage.numbers() == [FRAME_DEPTH - 4, 7]
    stage.show(1, 0.9, 8)  # within a period the newest are good enough
    assert stage.numbers() == [FRAME_DEPTH, 8]


def test_views_further_apart_than_a_period_are_skipped_and_the_wait_counted_once(stage: Stage) -> None:
    stage.show(0, 0.2, 1)
    stage.show(1, 1.4, 1)
    assert stage.numbers() is None and stage.numbers() is None
    assert stage.channels.policy["apart_waits"] == 1 and stage.channels.policy["stale_waits"] == 0
    stage.show(1, 0.2, 2)
    assert stage.numbers() == [1, 2]


def test_a_stale_view_is_waited_for_and_the_wait_counted_once(stage: Stage) -> None:
    stage.show(0, 0, 1)
    stage.show(1, 2.5, 1)
    assert stage.numbers() is None and stage.numbers() is None
    assert stage.channels.policy["stale_waits"] == 1
    stage.show(1, 0, 2)
    assert stage.numbers() == [1, 2]
