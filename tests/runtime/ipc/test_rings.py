"""Shared-memory slots, rings and boards: order, newest-wins, no torn reads, and writers that die."""

from __future__ import annotations

import glob
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import ring_child
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot
from vpp_edge.runtime.ipc.rings.ordered import OrderedRing

pytestmark = pytest.mark.live

SMALL = np.dtype([("value", "<i8"), ("vector", "<f8", (3,))])


@pytest.fixture
def opened():
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in things:
        thing.close()
    assert not glob.glob(f"/dev/shm/vppe-{os.getpid()}-*")


def value_of(record):
    return int(record["value"])


def taken_from(ring):
    """The oldest message not yet taken, or None."""
    out = np.empty(1, ring.dtype)
    return out if ring.take_into(out) else None


def test_slot_returns_the_newest_and_its_number(opened):
    slot = opened(NewestSlot(SMALL))
    assert slot.read(value_of) is None
    for value in range(1, 8):
        slot.write(10 * value, value=value, vector=np.zeros(3))
    message = slot.read(value_of)
    assert (message.value, message.sequence, message.stamp_ns) == (7, 7, 70)
    assert slot.read(value_of, newer_than=7) is None


def test_slot_rejects_what_numpy_would_broadcast(opened):
    slot = opened(NewestSlot(SMALL))
    with pytest.raises(BadInputError, match=r"vector has shape \(1,\), expected \(3,\)"):
        slot.write(0, value=1, vector=np.zeros(1))
    with pytest.raises(BadInputError, match="fields"):
        slot.write(0, value=1)


def test_slot_finds_the_message_closest_to_a_time(opened):
    slot = opened(NewestSlot(SMALL, depth=8))
    for value in range(1, 21):
        slot.write(100 * value, value=value, vector=np.zeros(3))
    assert slot.read_at(1790, value_of).value == 18
    assert slot.read_at(0, value_of).value == 14  # the oldest of the last depth - 1
    assert slot.read_at(10**9, value_of).value == 20


def test_overtaken_reader_gets_nothing(opened):
    slot = opened(NewestSlot(SMALL, depth=3))
    slot.write(1, value=1, vector=np.zeros(3))

    def overtaken(record):
        for value in range(3):
            slot.write(1, value=value, vector=np.ones(3))
        return value_of(record)

    assert slot.read(overtaken) is None


def test_half_written_message_is_never_seen_and_a_new_writer_continues(opened):
    slot, ring = opened(NewestSlot(SMALL)), opened(OrderedRing(SMALL, 4))
    slot.write(1, value=1, vector=np.zeros(3))
    slot.begin()["value"] = 99
    ring.begin()["value"] = 99
    assert slot.read(value_of).value == 1 and taken_from(ring) is None
    assert slot.write(2, value=2, vector=np.zeros(3)) == 2
    ring.begin()["value"] = 3
    ring.commit()
    assert slot.read(value_of).value == 2 and taken_from(ring)["value"][0] == 3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(0, 2**62), st.none()), max_size=60), st.integers(1, 5))
def test_ring_keeps_order_and_counts_losses(moves, capacity):
    ring = OrderedRing(SMALL, capacity)
    model, lost = [], 0
    try:
        for move in moves:
            if move is None:
                taken = taken_from(ring)
                assert (None if taken is None else int(taken["value"][0])) == (model.pop(0) if model else None)
            else:
                record = ring.begin()
                if record is None:
                    lost += 1
                    assert len(model) == capacity
                else:
                    record["value"] = move
                    ring.commit()
                    model.append(move)
            assert ring.waiting == len(model) and ring.lost == lost
    finally:
        ring.close()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), max_size=60), st.integers(2, 6))
def test_slot_never_goes_back(moves, depth):
    slot = NewestSlot(SMALL, depth)
    seen = written = 0
    try:
        for write in moves:
            if write:
                written = slot.write(written, value=written + 1, vector=np.zeros(3))
            else:
                message = slot.read(value_of, newer_than=seen)
                assert (message is None) == (seen == written)
                if message is not None:
                    seen = message.sequence
                    assert seen == written == message.value
    finally:
        slot.close()


def test_board_counts_by_name(opened):
    board = opened(Board(("heartbeat_ns", "frames")))
    board["heartbeat_ns"] = 2**63
    board.add("frames", 3)
    assert board.as_dict() == {"heartbeat_ns": 2**63, "frames": 3}
    with pytest.raises(BadInputError):
        Board(("a", "a"))


def test_two_processes_and_a_writer_killed_in_mid_stream(opened):
    slot = opened(NewestSlot(ring_child.DTYPE))
    ring = opened(OrderedRing(ring_child.DTYPE, 16))
    spawn = multiprocessing.get_context("spawn")
    torn, last, previous = 0, 0, 0
    out = np.empty(1, ring_child.DTYPE)
    for _ in range(2):
        child = spawn.Process(target=ring_child.write_forever, args=(slot, ring, 4096), daemon=True)
        child.start()
        start = slot.sequence
        wait_until = time.monotonic() + 20
        while slot.sequence < start + 2000 and time.monotonic() < wait_until:
            message = slot.read(lambda record: record["values"].copy(), newer_than=last)
            if message is not None:
                torn += int((message.value != message.sequence).any())
                assert message.sequence > last
                last = message.sequence
            if ring.take_into(out):
                assert (out["values"][0] == out["values"][0][0]).all() and out["values"][0][0] > previous
                previous = int(out["values"][0][0])
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert slot.sequence >= start + 2000
        message = slot.read(lambda record: record["values"].copy())
        assert message is not None and (message.value == message.sequence).all()
    assert torn == 0


def test_writer_killed_inside_a_message_blocks_no_one(opened):
    slot = opened(NewestSlot(ring_child.DTYPE))
    ring = opened(OrderedRing(ring_child.DTYPE, 2))
    slot.write(5, values=np.full(4096, 1))
    child = multiprocessing.get_context("spawn").Process(target=ring_child.die_in_the_middle, args=(slot, ring))
    child.start()
    while slot._records[0]["values"][0] != -1 and slot._records[2]["values"][0] != -1:
        time.sleep(0.01)
    child.kill()
    child.join()
    assert slot.read(lambda record: int(record["values"].sum())).value == 4096
    assert taken_from(ring) is None
    assert slot.write(6, values=np.full(4096, 2)) == 2
    assert slot.read(lambda record: int(record["values"].sum())).value == 8192
