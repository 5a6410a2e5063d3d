"""What a TensorRT engine creates is destroyed once and in NVIDIA's order, also after a failure at any call.

No GPU is involved: the fakes check order and number of calls, not what the libraries do.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from fake_cuda import ORDER, FakeCudart
from fake_tensorrt import DOUBLE, FakeTensorRT

from vpp_edge.bundle.engine import Engine, close_engines, closed_on_error
from vpp_edge.errors import BadInputError, HardwareFaultError, VppEdgeError
from vpp_edge.runtime.policy.engines.tensorrt.cuda import Cuda
from vpp_edge.runtime.policy.engines.tensorrt.engine import TensorRTEngine

INPUTS = {"x": np.ones((2, 3), np.float32), "on": np.array([True])}
DESTROYED = ["executable", "graph", "context", "engine", "runtime", *["buffer"] * 6, "stream"]


def opened(cudart: FakeCudart, capturable: bool = True) -> TensorRTEngine:
    return TensorRTEngine(FakeTensorRT(cudart, DOUBLE, capturable), Cuda(cudart), b"plan", DOUBLE)


def calls_of_a_life() -> list[str]:
    """All calls from opening an engine to closing it, one inference included."""
    cudart = FakeCudart()
    engine = opened(cudart)
    engine.run(INPUTS)
    engine.close()
    return cudart.calls


CALLS = calls_of_a_life()
EVERY_CALL = pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{i}-{name}" for i, name in enumerate(CALLS)])


def test_an_engine_is_destroyed_in_order_and_once() -> None:
    cudart = FakeCudart()
    engine = opened(cudart)
    engine.run(INPUTS)
    engine.close()
    cudart.assert_all_destroyed()
    assert cudart.destroyed == DESTROYED
    calls = len(cudart.calls)
    engine.close()
    assert len(cudart.calls) == calls


def test_the_fake_detects_a_wrong_order_and_a_second_destruction() -> None:
    cudart = FakeCudart()
    _, stream = cudart.cudaStreamCreateWithFlags(1)
    _, buffer = cudart.cudaMalloc(4)
    cudart.cudaStreamDestroy(stream)
    cudart.cudaFree(buffer)
    assert cudart.misuse == ["stream destroyed before buffer"]
    cudart.cudaFree(buffer)
    assert len(cudart.misuse) == 2
    with pytest.raises(AssertionError):
        cudart.assert_all_destroyed()
    assert set(DESTROYED) == set(ORDER)


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from there on"])
@EVERY_CALL
def test_a_failure_at_any_call_leaves_nothing_behind(number: int, sticky: bool) -> None:
    cudart = FakeCudart(failing_call=number, failing_from_there=sticky)
    first = None
    try:
        engine = opened(cudart)
    except VppEdgeError as error:
        first = error
    else:
        for step in (lambda: engine.run(INPUTS), engine.close):
            try:
                step()
            except VppEdgeError as error:
                first = first or error
    cudart.assert_all_destroyed()
    kinds = list(dict.fromkeys(cudart.destroyed))
    assert kinds == [kind for kind in ORDER if kind in kinds]
    name = CALLS[number]
    while_capturing = "cudaStreamBeginCapture" in CALLS[:number] and number <= CALLS.index("cudaGraphInstantiate")
    if name.startswith("cuda") and not while_capturing:
        last = CALLS[-1] if sticky and number > CALLS.index("cudaGraphLaunch") + 1 else name
        assert isinstance(first, HardwareFaultError) and str(first) == f"{last} failed: out of memory"


def test_without_a_graph_there_is_none_to_destroy() -> None:
    cudart = FakeCudart(capture_fails=True)
    opened(cudart).close()
    cudart.assert_all_destroyed()
    assert cudart.destroyed == DESTROYED[2:]


def test_an_engine_that_is_not_closed_closes_itself() -> None:
    cudart = FakeCudart()
    engine = opened(cudart)
    engine.run(INPUTS)
    gc.disable()  # its last reference is enough: there is no cycle
    try:
        del engine
    finally:
        gc.enable()
    cudart.assert_all_destroyed()
    assert cudart.destroyed == DESTROYED


def test_a_closed_engine_does_not_run() -> None:
    cudart = FakeCudart()
    engine = opened(cudart)
    engine.close()
    with pytest.raises(BadInputError, match="stage double: its engine is closed"):
        engine.run(INPUTS)


def test_all_engines_are_closed_even_when_one_fails() -> None:
    cudart = FakeCudart()
    engines = {name: opened(cudart) for name in ("text", "perceive", "act")}
    cudart._failing_call = len(cudart.calls) + 1
    with pytest.raises(HardwareFaultError, match="cudaGraphDestroy failed"):
        close_engines(engines)
    cudart.assert_all_destroyed()
    assert cudart.destroyed == DESTROYED * 3


def test_an_engine_that_cannot_be_opened_closes_those_before_it() -> None:
    probe = FakeCudart()
    opened(probe)
    cudart = FakeCudart(failing_call=len(probe.calls) + 3)
    engines: dict[str, Engine] = {}
    with pytest.raises(HardwareFaultError, match="out of memory"), closed_on_error(engines):
        for name in ("text", "perceive"):
            engines[name] = opened(cudart)
    assert list(engines) == ["text"]
    cudart.assert_all_destroyed()


class Stuck:
    """An engine that cannot be closed."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        raise HardwareFaultError("cudaFree failed")


def test_the_first_error_is_the_one_that_is_raised() -> None:
    with pytest.raises(BadInputError, match="first"), closed_on_error({"text": Stuck()}):
        raise BadInputError("first")
