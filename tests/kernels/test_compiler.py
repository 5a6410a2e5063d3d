"""Kernels for GPUs that are not here: no spills, arguments as the code has them, artefacts that come back whole."""

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
from vpp_edge.kernels.catalogue import OPERATIONS, launches_of, operation
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
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install 'vpp-edge[kernels]'"
)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_full_size_case_compiles_for_an_orin_without_spills(name: str) -> None:
    found = operation(name)
    kernels = [k for case in found.cases if not case.interpreted for k in compile_case(found, case, ORIN)]
    assert kernels and not [kernel.stem for kernel in kernels if kernel.spill_bytes]


@pytest.mark.parametrize("architecture", [sm for sm in ARCHITECTURES if sm != ORIN])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_largest_case_compiles_without_spills(name: str, architecture: int) -> None:
    found = operation(name)
    largest = next(case for case in found.cases if not case.interpreted)
    for kernel in compile_case(found, largest, architecture):
        assert kernel.spill_bytes == 0 and 0 < kernel.registers <= 255, kernel.description()
        assert kernel.shared_bytes <= SHARED_LIMITS[architecture] * 1024
        assert kernel.cubin[:4] == b"\x7fELF"


def test_a_video_takes_two_launches_in_order() -> None:
    found = operation("group_norm_silu")
    first, second = compile_case(found, found.case("video-320-32x32"), 87)
    assert (first.step, second.step) == (0, 1)
    assert first.grid == second.grid == (16, 8, 2)
    sums = [next(a for a in kernel.arguments if a.name == "partial") for kernel in (first, second)]
    assert sums[0] == sums[1] == Argument("partial", TENSOR, dtype="float32", elements=2 * 16 * 2 * 320)


@pytest.fixture(scope="module")
def compiled() -> CompiledKernel:
    found = operation("geglu")
    (kernel,) = compile_case(found, found.case("unet-8x8"), 87)
    return kernel


def test_the_arguments_are_the_parameters_of_the_code(compiled: CompiledKernel) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vpp_edge.kernels.compiler import _specialized

    (launch,) = launches_of("geglu", operation("geglu").case("unet-8x8"), 87)
    signature, constants, attributes, _ = _specialized(launch)
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
    assert by_name["rows"] == Argument("rows", "i32", 2048)
    assert by_name["value_row"].value == 2 * 5120
    assert by_name["gate"] == Argument("gate", TENSOR, dtype="float16", elements=2047 * 10240 + 5120)
    assert "inverse_step" not in by_name  # left out at compile time
    assert compiled.arguments[-2].kind == compiled.arguments[-1].kind == SCRATCH


def test_machine_code_names_no_file_of_the_machine_it_was_made_on(compiled: CompiledKernel) -> None:
    assert b"kernel.py" not in compiled.cubin and b"/geglu" not in compiled.cubin


def test_an_artefact_comes_back_as_it_was_saved(compiled: CompiledKernel, tmp_path: Path) -> None:
    path = compiled.save(tmp_path / "kernels")
    assert path.name == "geglu.unet-8x8.0.sm_87.json"
    assert load_kernel(path) == compiled


def test_a_changed_artefact_is_refused(compiled: CompiledKernel, tmp_path: Path) -> None:
    path = compiled.save(tmp_path)
    path.with_suffix(".cubin").write_bytes(compiled.cubin[:-1] + b"\x00\x01")
    with pytest.raises(BadInputError, match="was changed since it was compiled"):
        load_kernel(path)


@pytest.mark.parametrize(
    "change",
    [{"format": 99}, {"grid": 5}, {"arguments": [{"name": "x", "kind": "word"}]}, {"surprise": 1}],
    ids=lambda change: next(iter(change)),
)
def test_an_artefact_of_another_kind_is_refused(compiled: CompiledKernel, tmp_path: Path, change: dict) -> None:
    path = compiled.save(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInputError):
        load_kernel(path)


def test_a_missing_artefact_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no compiled kernel"):
        load_kernel(tmp_path / "geglu.json")


def test_more_shared_memory_than_there_is_is_refused() -> None:
    (launch,) = launches_of("text_attention", operation("text_attention").case("unet-32x32"), 87)
    greedy = replace(launch, tile=replace(launch.tile, stages=8))
    with pytest.raises(CheckFailedError, match="shared memory"):
        compile_launch(greedy, 86, "text_attention", "unet-32x32")


def test_spills_are_read_from_the_assemblers_report() -> None:
    log = """ptxas info    : Function properties for k
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 460 bytes cmem[0]"""
    assert resources_from_log(log) == (255, 32)
    with pytest.raises(CheckFailedError, match="cannot read"):
        resources_from_log("ptxas info    : nothing to say")


def test_the_span_of_a_strided_tensor_holds_its_gaps() -> None:
    packed = torch.empty(4, 6, device="meta")
    assert [span_of(x) for x in (packed, packed[:, :2], packed[:0], packed.t())] == [24, 20, 0, 24]
