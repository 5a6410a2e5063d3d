"""Launching compiled kernels without a GPU: what the driver receives, byte for byte."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.kernels.artifact import SCRATCH, TENSOR, Argument, CompiledKernel
from vpp_edge.kernels.driver import KernelLauncher, pack_arguments

KERNEL = CompiledKernel(
    operation="geglu",
    case="small",
    step=0,
    architecture=87,
    entry="geglu_kernel",
    grid=(3, 2, 1),
    warps=4,
    shared_bytes=1024,
    registers=32,
    spill_bytes=0,
    arguments=(
        Argument("value", TENSOR, dtype="float16", elements=64),
        Argument("rows", "i32", value=-5),
        Argument("stride", "i64", value=1 << 40),
        Argument("scale", "fp32", value=0.125),
        Argument("global_scratch", SCRATCH, elements=0),
        Argument("partial", SCRATCH, elements=256),
    ),
    compiler="triton 3",
    cubin=b"machine code",
)
ADDRESSES = {"value": 0x7F0000000010, "partial": 0x7F0000000100}


class FakeDriver:
    """Records its calls and, on a launch, reads the arguments as the driver does."""

    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="dynamic")

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[tuple[Any, ...]] = []
        self.read: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            if name == self.failing:
                return (209, None)
            if name == "cuLaunchKernel":
                pointers = (ctypes.c_void_p * len(KERNEL.arguments)).from_address(arguments[-2])
                self.read = [ctypes.string_at(p or 0, 8) for p in pointers]
            return {"cuModuleLoadData": (0, "module"), "cuModuleGetFunction": (0, "function")}.get(name, (0,))

        return call


def test_the_driver_reads_every_argument_with_its_type() -> None:
    driver = FakeDriver()
    KernelLauncher(KERNEL, 87, driver).launch(pack_arguments(KERNEL, ADDRESSES), stream=77)
    assert driver.calls[:2] == [
        ("cuModuleLoadData", b"machine code"),
        ("cuModuleGetFunction", "module", b"geglu_kernel"),
    ]
    assert driver.calls[2][:10] == ("cuLaunchKernel", "function", 3, 2, 1, 128, 1, 1, 1024, 77)
    formats = ("<Q", "<i", "<q", "<f", "<Q", "<Q")
    values = [struct.unpack_from(f, read)[0] for f, read in zip(formats, driver.read, strict=True)]
    assert values == [ADDRESSES["value"], -5, 1 << 40, 0.125, 0, ADDRESSES["partial"]]


@pytest.mark.parametrize(("shared", "requested"), [(48 * 1024, False), (48 * 1024 + 1, True)])
def test_more_than_48_kb_of_shared_memory_is_requested_before_the_launch(shared: int, requested: bool) -> None:
    driver = FakeDriver()
    KernelLauncher(replace(KERNEL, shared_bytes=shared), 87, driver)
    assert (("cuFuncSetAttribute", "function", "dynamic", shared) in driver.calls) == requested


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ({"value": 16}, "expected addresses of partial, value, got value"),
        (ADDRESSES | {"other": 16}, "got other, partial, value"),
        (ADDRESSES | {"value": 0}, "address of value is 0x0"),
        (ADDRESSES | {"value": 24}, "address of value is 0x18"),
    ],
)
def test_a_wrong_address_is_rejected_before_the_launch(addresses: dict[str, int], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        pack_arguments(KERNEL, addresses)


def test_code_for_another_gpu_is_not_loaded() -> None:
    driver = FakeDriver()
    with pytest.raises(BadInputError, match="is for sm_87, this GPU is sm_90"):
        KernelLauncher(KERNEL, 90, driver)
    assert not driver.calls


@pytest.mark.parametrize("failing", ["cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel"])
def test_a_driver_error_is_a_hardware_fault(failing: str) -> None:
    with pytest.raises(HardwareFaultError, match=f"{failing} failed with CUDA error 209"):
        KernelLauncher(KERNEL, 87, FakeDriver(failing)).launch(pack_arguments(KERNEL, ADDRESSES), stream=0)
