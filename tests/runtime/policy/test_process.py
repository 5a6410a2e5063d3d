"""The policy process makes every chunk continue the one that the control loop is playing, and counts what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from worker_under_test import DIMS, HORIZON, next_chunk, observe, settings

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.chaos.injection import UnreliablePolicy
from vpp_edge.runtime.chaos.orders import FaultOrders
from vpp_edge.runtime.control.channel_link import ChannelLink
from vpp_edge.runtime.interfaces import Policy
from vpp_edge.runtime.ipc.channels import CHUNK_CAPACITY, Channels
from vpp_edge.runtime.ipc.instruction import Instruction, write_instruction
from vpp_edge.runtime.ipc.loop_state import MOVING, LoopState
from vpp_edge.runtime.policy.handover_modes import MODES, NAIVE, RTC, SYNCHRONOUS
from vpp_edge.runtime.policy.process import opened_policy
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.policy.worker import PolicyWorker

pytestmark = pytest.mark.live

PERIOD_NS = 1_000_000_000  # long, so that a busy machine is still within the first one
OPTIONS = {"joints": 3, "latency_ms": 0, "period_ms": 1000}


@pytest.fixture
def channels() -> Iterator[Channels]:
    channels = Channels.create(("static", "wrist"), HORIZON, DIMS)
    write_instruction(channels.instruction, Instruction("swing"))
    yield channels
    channels.close()


class Guided(ScriptedPolicy):
    """Remembers what it was asked to continue."""

    weight: np.ndarray | None = None

    def act(self, *inputs, prefix=None, prefix_weight=None, **more):
        self.weight = prefix_weight
        return super().act(*inputs, prefix=prefix, prefix_weight=prefix_weight, **more)


def worker_of(channels: Channels, mode: str) -> tuple[Guided, PolicyWorker]:
    policy = Guided(OPTIONS)
    return policy, PolicyWorker(policy, settings(mode), channels, 0)


def playing(chunk: np.void) -> LoopState:
    return LoopState(1, int(chunk["request"]), MOVING, int(chunk["request"]), int(chunk["observed_ns"]))


def test_the_first_chunk_continues_nothing(channels: Channels) -> None:
    policy, worker = worker_of(channels, RTC)
    assert next_chunk(channels, worker, LoopState()) is not None
    assert policy.weight is None


def test_the_next_chunk_begins_as_the_present_one_goes_on(channels: Channels) -> None:
    policy, worker = worker_of(channels, RTC)
    first = next_chunk(channels, worker, LoopState())
    assert first is not None
    second = next_chunk(channels, worker, playing(first))
    assert second is not None and policy.weight is not None and policy.weight[0, 0] == 1
    late = (second["observed_ns"] - first["observed_ns"]) / PERIOD_NS
    assert 0 <= late < 1, "this machine is far too slow for the test"
    between = (1 - late) * first["targets"][0] + late * first["targets"][1]
    np.testing.assert_allclose(second["targets"][0, 7:], between[7:], atol=1e-6)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in (RTC, SYNCHRONOUS)])
def test_other_modes_have_no_prefix(channels: Channels, mode: str) -> None:
    policy, worker = worker_of(channels, mode)
    first = next_chunk(channels, worker, LoopState())
    assert first is not None and next_chunk(channels, worker, playing(first)) is not None
    assert policy.weight is None


def test_a_chunk_of_an_interrupted_episode_is_not_continued(channels: Channels) -> None:
    policy, worker = worker_of(channels, RTC)
    first = next_chunk(channels, worker, LoopState())
    assert first is not None
    assert next_chunk(channels, worker, LoopState(2, int(first["request"]), MOVING)) is not None
    assert policy.weight is None


def test_a_synchronous_worker_waits_for_the_hand_to_rest(channels: Channels) -> None:
    _, worker = worker_of(channels, SYNCHRONOUS)
    first = next_chunk(channels, worker, LoopState())
    assert first is not None
    assert next_chunk(channels, worker, playing(first)) is None
    assert next_chunk(channels, worker, LoopState(1, int(first["request"]), resting_since_ns=1)) is not None


class Closing(ScriptedPolicy):
    """Counts how often it is closed, which fails."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        raise HardwareFaultError("cudaFree failed")


def test_the_policy_is_closed_once_and_its_first_error_is_reported() -> None:
    policies, orders = list[Closing](), FaultOrders()

    def wrap(_: Policy) -> UnreliablePolicy:
        policies.append(Closing(OPTIONS))
        return UnreliablePolicy(policies[-1], orders)

    opened = replace(settings(RTC), wrap_policy=wrap)
    with pytest.raises(HardwareFaultError, match="cudaFree"), opened_policy(opened):
        pass
    with pytest.raises(HardwareFaultError, match="the first error"), opened_policy(opened):
        raise HardwareFaultError("the first error")
    orders.close()
    assert [policy.closed for policy in policies] == [1, 1]


def test_chunks_that_find_the_ring_full_are_counted(channels: Channels) -> None:
    _, worker = worker_of(channels, NAIVE)
    for _ in range(CHUNK_CAPACITY + 3):  # a loop that has stalled takes none of them
        observe(channels, worker, LoopState())
    link = ChannelLink(channels, recorded=False)
    assert channels.policy["inferences"] == CHUNK_CAPACITY + 3
    assert link.chunks_lost() == 3
    taken = [chunk.request for _ in range(CHUNK_CAPACITY) if (chunk := link.take_chunk()) is not None]
    assert taken == list(range(CHUNK_CAPACITY)) and link.take_chunk() is None
    link.close()


def test_on_a_hot_machine_the_policy_rests_until_half_of_its_rate_and_no_longer_than_the_heat(
    channels: Channels,
) -> None:
    _, worker = worker_of(channels, NAIVE)
    channels.orders["hot"] = 1
    first = next_chunk(channels, worker, LoopState())
    assert first is not None
    assert next_chunk(channels, worker, playing(first)) is None  # for two chunks of 8 s
    channels.orders["hot"] = 0
    assert next_chunk(channels, worker, playing(first)) is not None
