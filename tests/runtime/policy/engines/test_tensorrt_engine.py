"""The TensorRT backends against fakes of TensorRT and CUDA: what reaches the library, and how engines run.

No GPU takes part: these tests say nothing about TensorRT itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_cuda import FakeCudart
from fake_tensorrt import DOUBLE, FakeTensorRT

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError, BundleError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.runtime.policy.engines.registry import backend_names, open_engines
from vpp_edge.runtime.policy.engines.tensorrt import build, cuda, engine
from vpp_edge.runtime.policy.engines.tensorrt.build import Target
from vpp_edge.runtime.policy.engines.tensorrt.cache import EngineCache
from vpp_edge.runtime.policy.engines.tensorrt.cuda import Cuda, Device
from vpp_edge.runtime.policy.engines.tensorrt.engine import TensorRTEngine, deserialize_engine
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES, Library
from vpp_edge.spec.policy import TensorSpec


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """A Jetson with JetPack's TensorRT, as far as the tests need it."""
    cudart = FakeCudart()
    trt = FakeTensorRT(cudart)
    monkeypatch.setattr(Library, "version", lambda self: ("10.3.0", None))
    monkeypatch.setattr(Library, "load", lambda self: trt)
    monkeypatch.setattr(build, "present_device", lambda: Device("87", "12.6"))
    monkeypatch.setattr(engine, "load_runtime", lambda: cudart)
    return trt


def store_engines(bundle: Path, flags: BuildFlags = BuildFlags()) -> EngineCache:  # noqa: B008 - frozen
    opened, cache = Bundle(bundle), EngineCache(bundle)
    target = Target(library=LIBRARIES["tensorrt"], version="10.3.0", cuda="12.6", sm="87", named=False)
    for stage in opened.manifest.stages.values():
        plan = memoryview(f"engine of {stage.name}".encode())
        cache.store(target.key(opened, stage, flags), plan, seconds=1, layers=1)
    return cache


def open_tensorrt(bundle: Path) -> object:
    return open_engines(Bundle(bundle), "tensorrt", EngineOptions())


@pytest.mark.parametrize("capture", ["captured", "not capturable", "capture fails"])
def test_an_engine_computes_from_its_inputs(capture: str) -> None:
    cudart = FakeCudart(capture_fails=capture == "capture fails")
    trt = FakeTensorRT(cudart, DOUBLE, capturable=capture != "not capturable")
    ready = TensorRTEngine(trt, Cuda(cudart), b"plan", DOUBLE)
    allocations = len(cudart.calls)
    results = []
    for start in (1, 5):
        x = np.arange(start, start + 6, dtype=np.float32).reshape(2, 3)
        out = ready.run({"x": x, "on": np.array([True])})["y"]
        np.testing.assert_array_equal(out, 2 * x)
        results.append(out)
    assert not np.shares_memory(*results)
    assert cudart.launched == (2 if capture == "captured" else 0)
    assert not {"cudaMalloc", "cudaHostAlloc"} & set(cudart.calls[allocations:])


def test_an_engine_of_another_signature_is_rejected() -> None:
    cudart = FakeCudart()
    other = replace(DOUBLE, outputs=(TensorSpec("y", "float32", (2, 4)),))
    with pytest.raises(BundleError, match="its manifest states"):
        TensorRTEngine(FakeTensorRT(cudart, DOUBLE), Cuda(cudart), b"plan", other)
    cudart.assert_all_destroyed()


def test_the_backends_are_registered() -> None:
    assert {"tensorrt", "tensorrt-rtx"} <= set(backend_names())


def test_exactly_the_verified_bytes_are_deserialized_without_host_code(orin: FakeTensorRT, bundle_copy: Path) -> None:
    store_engines(bundle_copy)
    with pytest.raises(BundleError, match=r"stage text: tensorrt 10\.3\.0 rejects its engine"):
        open_tensorrt(bundle_copy)
    assert orin.deserialized == [b"engine of text"] and orin.host_code == [False]


def test_a_damaged_engine_never_reaches_tensorrt(orin: FakeTensorRT, bundle_copy: Path) -> None:
    """Neither do the intact engines of the same bundle."""
    cache = store_engines(bundle_copy)
    path = next(cache.path.glob("act-*.engine"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"rejected before TensorRT saw it\. `vpp-edge build"):
        open_tensorrt(bundle_copy)
    assert orin.deserialized == []


def test_without_engines_the_command_is_named(orin: FakeTensorRT, bundle_copy: Path) -> None:
    with pytest.raises(BundleError, match=r"vpp-edge build .*bundle --backend tensorrt$"):
        open_tensorrt(bundle_copy)
    store_engines(bundle_copy)
    (bundle_copy / "engines" / "old").mkdir()
    newer_orin = Device("87", "13.2")
    build.present_device = lambda: newer_orin  # undone by the fixture's monkeypatch
    with pytest.raises(BundleError, match=r"\(CUDA 13.2\) for SM 87 yet \(there are engines of tensorrt 10.3.0"):
        open_tensorrt(bundle_copy)


def test_without_a_gpu_the_error_says_so(monkeypatch: pytest.MonkeyPatch, bundle_copy: Path) -> None:
    monkeypatch.setattr(Library, "version", lambda self: ("10.3.0", None))
    monkeypatch.setattr(cuda, "load_runtime", lambda: FakeCudart(devices=0, error=35))
    with pytest.raises(BadInputError, match=r"no usable NVIDIA GPU here \(no driver\).*--backend onnxruntime"):
        open_tensorrt(bundle_copy)


def test_a_missing_library_names_its_installation(monkeypatch: pytest.MonkeyPatch, bundle_copy: Path) -> None:
    monkeypatch.setattr(Library, "is_installed", property(lambda self: False))
    with pytest.raises(MissingDependencyError, match="apt-get install python3-libnvinfer"):
        open_tensorrt(bundle_copy)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("tensorrt-rtx"))):
        open_engines(Bundle(bundle_copy), "tensorrt-rtx", EngineOptions())


@pytest.mark.skipif(not LIBRARIES["tensorrt-rtx"].is_installed, reason="tensorrt_rtx_bindings is not installed")
def test_the_library_itself_rejects_other_bytes() -> None:
    with pytest.raises(BundleError, match="rejects its engine"):
        deserialize_engine(LIBRARIES["tensorrt-rtx"].load(), b"no engine" * 100, "act")
