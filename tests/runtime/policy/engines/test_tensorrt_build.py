"""The TensorRT compiler on the stages of a bundle: real engines of TensorRT-RTX, built without a GPU, and errors."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from edited import edit_json
from fake_cuda import FakeCudart

from vpp_edge.bundle.manifest import Bundle, file_record
from vpp_edge.errors import BadInputError, BundleError, MissingDependencyError
from vpp_edge.runtime.policy.engines.tensorrt import build as building
from vpp_edge.runtime.policy.engines.tensorrt.build import BuildOptions, Target, build_engines, targets_of_library
from vpp_edge.runtime.policy.engines.tensorrt.builder import _interruptible, make_logger
from vpp_edge.runtime.policy.engines.tensorrt.cuda import present_device
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES, library_of_backend

RTX = LIBRARIES["tensorrt-rtx"]
needs_rtx = pytest.mark.skipif(
    not RTX.is_installed, reason="tensorrt_rtx_bindings is not installed: pip install -e '.[tensorrt-rtx]'"
)


def change_graph(bundle: Path, change: Callable[[object], object]) -> None:
    """Changes the graph of the stage `text`, and the manifest with it."""
    onnx = pytest.importorskip("onnx")
    path = bundle / "onnx" / "text.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    record = file_record(path)
    edit_json(
        bundle / "manifest.json",
        lambda data: data["files"].update({"onnx/text.onnx": {"sha256": record.sha256, "bytes": record.size}}),
    )


@pytest.fixture
def target() -> Target:
    (found,) = targets_of_library(RTX, ["86"])
    return found


def build_text(bundle: Path, target: Target, options: BuildOptions | None = None):
    (engine,) = build_engines(Bundle(bundle), ["text"], [target], options or BuildOptions())
    return engine


@needs_rtx
def test_an_engine_is_built_once(bundle_copy: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_text(bundle_copy, target)
    assert not first.cached and first.record.size > 100_000 and first.record.layers > 50
    forced = build_text(bundle_copy, target, BuildOptions(force=True))
    assert not forced.cached

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the compiler was asked again")

    monkeypatch.setattr(building, "compile_stage", refuse)
    second = build_text(bundle_copy, target)
    assert second.cached and second.record == forced.record


@needs_rtx
def test_another_graph_or_flag_is_another_engine(bundle_copy: Path, target: Target) -> None:
    first = build_text(bundle_copy, target)
    other_flags = BuildOptions(BuildFlags(optimization_level=2))
    assert not build_text(bundle_copy, target, other_flags).cached
    change_graph(bundle_copy, lambda model: setattr(model, "producer_version", "another"))
    changed = build_text(bundle_copy, target, BuildOptions(prune=True))
    assert not changed.cached and changed.record.key.graph != first.record.key.graph
    assert first.record.key.file in changed.pruned and len(changed.pruned) == 2


@needs_rtx
def test_what_the_compiler_says_about_sparse_weights_is_kept() -> None:
    trt = RTX.load()
    logger = make_logger(trt)
    said = "(Sparsity) Layers eligible for sparse math: conv1, conv2"
    for message in ("Detected 3 inputs", said):
        logger.log(trt.ILogger.Severity.INFO, message)
    assert logger.sparsity == [said] and not logger.errors


@needs_rtx
def test_a_damaged_engine_is_built_again(bundle_copy: Path, target: Target) -> None:
    path = bundle_copy / "engines" / build_text(bundle_copy, target).record.key.file
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    again = build_text(bundle_copy, target)
    assert not again.cached and "changed since it was built" in again.note
    assert build_text(bundle_copy, target).cached


@needs_rtx
def test_a_changed_bundle_is_rejected_even_if_its_engine_is_cached(bundle_copy: Path, target: Target) -> None:
    build_text(bundle_copy, target)
    path = bundle_copy / "onnx" / "text.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match="changed since export"):
        build_text(bundle_copy, target)


@needs_rtx
def test_a_parser_without_weights_from_memory_gets_a_private_folder(
    bundle_copy: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like TensorRT 10.3 of JetPack 6.2, which has `parse(graph, path)` only."""
    trt = RTX.load()

    class OldParser:
        def __init__(self, network: object, logger: object) -> None:
            self._parser = trt.OnnxParser(network, logger)

        num_errors = property(lambda self: self._parser.num_errors)

        def parse(self, graph: bytes, path: str) -> bool:
            folder = Path(path).parent
            assert folder.stat().st_mode & 0o777 == 0o700
            assert [p.name for p in folder.iterdir()] == ["text.onnx.data"]
            return self._parser.parse(graph, path)

        def get_error(self, index: int) -> object:
            return self._parser.get_error(index)

    old = SimpleNamespace(**{**vars(trt), "OnnxParser": OldParser})
    monkeypatch.setattr(type(RTX), "load", lambda self: old)
    engine = build_text(bundle_copy, target)
    assert engine.record.size > 100_000


@needs_rtx
def test_a_rejected_node_is_named(bundle_copy: Path, target: Target) -> None:
    def change(model) -> None:
        model.graph.node[0].op_type, model.graph.node[0].name = "Levitate", "first_node"

    change_graph(bundle_copy, change)
    with pytest.raises(BadInputError, match=r"stage text.*rejects its graph\n.*'first_node' \(Levitate\)"):
        build_text(bundle_copy, target)
    assert not (bundle_copy / "engines").exists()


@needs_rtx
def test_a_device_that_the_compiler_does_not_know_is_named(bundle_copy: Path) -> None:
    (orin,) = targets_of_library(RTX, ["8.7"])
    with pytest.raises(BadInputError, match=r"--sm 87: .* builds for 75, 80, 86, 89"):
        build_text(bundle_copy, orin)


@needs_rtx
def test_capabilities_are_parsed_in_every_spelling() -> None:
    targets = targets_of_library(RTX, ["86", "8.6", "sm86", "SM_89", "120", "12.0"])
    assert [t.sm for t in targets] == ["86", "89", "120"]
    with pytest.raises(BadInputError, match="compute capability"):
        targets_of_library(RTX, ["ampere"])


def test_ctrl_c_stops_the_compiler() -> None:
    monitor, stopped = SimpleNamespace(cancelled=False), []

    def compiler() -> None:
        time.sleep(0.3)  # until the build is running
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        give_up = time.monotonic() + 30
        while not monitor.cancelled and time.monotonic() < give_up:
            time.sleep(0.01)
        stopped.append(monitor.cancelled)

    with pytest.raises(KeyboardInterrupt):
        _interruptible(compiler, monitor)
    assert stopped == [True]


def test_a_missing_library_names_its_installation() -> None:
    absent = replace(RTX, module="no_such_tensorrt")
    with pytest.raises(MissingDependencyError, match=r"pip install -e .*\[tensorrt-rtx\]'"):
        absent.version()
    with pytest.raises(BadInputError, match="has no engines to build"):
        library_of_backend("onnxruntime")


def test_without_a_gpu_this_machine_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"no usable NVIDIA GPU here \(no driver\)"):
        present_device(FakeCudart(devices=0, error=35))
    monkeypatch.setattr(building, "present_device", lambda: present_device(FakeCudart(devices=0)))
    monkeypatch.setattr(type(RTX), "version", lambda self: ("1", None))
    with pytest.raises(BadInputError, match="--sm 86"):
        targets_of_library(RTX, [])


def test_jetpacks_library_builds_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt = LIBRARIES["tensorrt"]
    monkeypatch.setattr(type(tensorrt), "version", lambda self: ("10.3.0", None))
    monkeypatch.setattr(building, "present_device", lambda: present_device(FakeCudart()))
    (orin,) = targets_of_library(tensorrt, [])
    assert (orin.sm, orin.cuda, orin.named) == ("87", "12.6", False)
    assert targets_of_library(tensorrt, ["87"]) == [orin]
    with pytest.raises(BadInputError, match="this machine's GPU, which is SM 87"):
        targets_of_library(tensorrt, ["86"])
