"""Ahead-of-time compilation: no spills, arguments that match the machine code, artifacts that survive a round trip."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vpp_edge.errors import BadInputError, CheckFailedError
from vpp_edge.kernels.artifact import SCRATCH, TENSOR, Argument, CompiledKernel, load_kernel
from vpp_edge.kernels.catalogue import OPERATIONS, launches_of, load_operation
from vpp_edge.kernels.compiler import (
    ARCHITECTURES,
    SHARED_LIMITS,
    compile_case,
    compile_launch,
    resources_from_log,
    span_of,
)
from vpp_edge.kernels.launch import ORIN

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install -e '.[kernels]'"
)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_full_size_case_compiles_for_an_orin_without_spills(name: str) -> None:
    operation = load_operation(name)
    kernels = [k for case in operation.cases if not case.interpreted for k in compile_case(operation, case, ORIN)]
    assert kernels and not [kernel.stem for kernel in kernels if kernel.spill_bytes]


@pytest.mark.parametrize("architecture", [sm for sm in ARCHITECTURES if sm != ORIN])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_largest_case_compiles_without_spills(name: str, architecture: int) -> None:
    operation = load_operation(name)
    largest = next(case for case in operation.cases if not case.interpreted)
    for kernel in compile_case(operation, largest, architecture):
        assert kernel.spill_bytes == 0 and 0 < kernel.registers <= 255, kernel.description()
        assert kernel.shared_bytes <= SHARED_LIMITS[architecture] * 1024
        assert kernel.cubin[:4] == b"\x7fELF"


def test_a_video_takes_two_launches_in_order() -> None:
    operation = load_operation("group_norm_silu")
    first, second = compile_case(operation, operation.case("video-320-32x32"), 87)
    assert (first.step, second.step) == (0, 1)
    assert first.grid == second.grid == (16, 8, 2)
    sums = [next(a for a in kernel.arguments if a.name == "partial") for kernel in (first, second)]
    assert sums[0] == sums[1] == Argument("partial", TENSOR, dtype="float32", elements=2 * 16 * 2 * 320)


@pytest.fixture(scope="module")
def compiled() -> CompiledKernel:
    operation = load_operation("geglu")
    (kernel,) = compile_case(operation, operation.case("unet-8x8"), 87)
    return kernel


def test_the_arguments_are_the_parameters_of_the_code(compiled: CompiledKernel) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vpp_edge.kernels.compiler import _specialize

    (launch,) = launches_of("geglu", load_operation("geglu").case("unet-8x8"), 87)
    signature, constants, attributes, _ = _specialize(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    ptx = triton.compile(source, GPUTarget("cuda", 87, 32), options={"num_warps": 4, "num_stages": 1}).asm["ptx"]
    head = ptx[ptx.index(".entry") : ptx.index("{", ptx.index(".entry"))]
    types = re.findall(r"\.param \.(\w+)", head)
    kinds = {TENSOR: "u64", SCRATCH: "u64", "i32": "u32", "i64": "u64", "fp32": "f32"}
    assert types == [kinds[argument.kind] for argument in compiled.arguments]
    assert re.search(r"\.entry (\w+)", head)[1] == compiled.entry
    assert compiled.entry.encode() in compiled.cubin


def test_numbers_and_spans_are_those_of_the_case(compiled: CompiledKernel) -> None:
    by_name = {argument.name: argument for argument in compiled.arguments}
    assert by_name["rows"] == Argument("rows", "i32", value=2048)
    assert by_name["value_row"].value == 2 * 5120
    assert by_name["gate"] == Argument("gate", TENSOR, dtype="float16", elements=2047 * 10240 + 5120)
    assert "inverse_step" not in by_name  # removed at compile time
    assert compiled.arguments[-2].kind == compiled.arguments[-1].kind == SCRATCH


def test_machine_code_contains_no_paths_of_the_build_machine(compiled: CompiledKernel) -> None:
    assert b"kernel.py" not in compiled.cubin and b"/geglu" not in compiled.cubin


def test_an_artifact_is_loaded_as_it_was_saved(compiled: CompiledKernel, tmp_path: Path) -> None:
    path = compiled.save(tmp_path / "kernels")
    assert path.name == "geglu.unet-8x8.0.sm_87.json"
    assert load_kernel(path) == compiled


def test_a_changed_artifact_is_rejected(compiled: CompiledKernel, tmp_path: Path) -> None:
    path = compiled.save(tmp_path)
    path.with_suffix(".cubin").write_bytes(compiled.cubin[:-1] + b"\x00\x01")
    with pytest.raises(BadInputError, match="was changed since it was compiled"):
        load_kernel(path)


@pytest.mark.parametrize(
    "change",
    [{"format": 99}, {"grid": 5}, {"arguments": [{"name": "x", "kind": "word"}]}, {"surprise": 1}],
    ids=lambda change: next(iter(change)),
)
def test_an_artifact_of_another_format_is_rejected(compiled: CompiledKernel, tmp_path: Path, change: dict) -> None:
    path = compiled.save(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInputError):
        load_kernel(path)


def test_a_missing_artifact_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="not a compiled kernel"):
        load_kernel(tmp_path / "geglu.json")


def test_too_much_shared_memory_is_rejected() -> None:
    (launch,) = launches_of("text_attention", load_operation("text_attention").case("unet-32x32"), 87)
    greedy = replace(launch, tile=replace(launch.tile, stages=8))
    with pytest.raises(CheckFailedError, match="shared memory"):
        compile_launch(greedy, 86, "text_attention", "unet-32x32")


def test_spills_are_read_from_the_output_of_ptxas() -> None:
    log = """ptxas info    : Function properties for k
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 460 bytes cmem[0]"""
    assert resources_from_log(log) == (255, 32)
    with pytest.raises(CheckFailedError, match="cannot read"):
        resources_from_log("ptxas info    : nothing to say")


def test_the_span_of_a_strided_tensor_includes_its_gaps() -> None:
    packed = torch.empty(4, 6, device="meta")
    assert [span_of(x) for x in (packed, packed[:, :2], packed[:0], packed.t())] == [24, 20, 0, 24]
