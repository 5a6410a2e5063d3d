"""Ahead-of-time compilation of a launch for an architecture. Needs Triton but no GPU."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.errors import CheckFailedError
from vpp_edge.kernels.artifact import ALIGNMENT, SCRATCH, TENSOR, Argument, CompiledKernel
from vpp_edge.kernels.catalogue import launches_of
from vpp_edge.kernels.launch import Launch
from vpp_edge.kernels.operation import Case, Operation

if TYPE_CHECKING:
    from torch import Tensor

# KB of shared memory available to a program: CUDA C++ Programming Guide, "Technical Specifications per Compute
# Capability", minus the 1 KB reserved by the system.
SHARED_LIMITS = {86: 99, 87: 163, 89: 99, 90: 227}
ARCHITECTURES = tuple(SHARED_LIMITS)

POINTERS = {"float16": "*fp16", "float32": "*fp32", "int8": "*i8"}


def compile_launch(launch: Launch, architecture: int, operation: str, case: str, step: int = 0) -> CompiledKernel:
    """Compile a launch's kernel for one architecture, specialized as Triton would do on the device.

    Args:
        launch: may have meta tensors.
        architecture: a key of SHARED_LIMITS.
        operation, case, step: name the artifact.

    Raises:
        CheckFailedError: ptxas failed, or the kernel needs more shared memory than the architecture has.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, attributes, arguments = _specialize(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    options = {"num_warps": launch.tile.warps, "num_stages": launch.tile.stages}
    built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    shared = int(built.metadata.shared)
    if shared > SHARED_LIMITS[architecture] * 1024:
        raise CheckFailedError(
            f"{operation} {case} needs {shared / 1024:.1f} KB of shared memory, but sm_{architecture} has only "
            f"{SHARED_LIMITS[architecture]} KB per program. Use a smaller tile on this architecture."
        )
    # Triton appends two scratch addresses to every kernel: one for its own use, one for its profiler.
    scratch = tuple(
        Argument(f"{name}_scratch", SCRATCH, elements=int(getattr(built.metadata, f"{name}_scratch_size")))
        for name in ("global", "profile")
    )
    cubin, registers, spill_bytes = _assemble(built.asm["ptx"], architecture)
    return CompiledKernel(
        operation=operation,
        case=case,
        step=step,
        architecture=architecture,
        entry=built.metadata.name,
        grid=launch.grid,
        warps=launch.tile.warps,
        shared_bytes=shared,
        registers=registers,
        spill_bytes=spill_bytes,
        arguments=(*arguments, *scratch),
        compiler=f"triton {triton.__version__}",
        cubin=cubin,
    )


def compile_case(operation: Operation, case: Case, architecture: int) -> list[CompiledKernel]:
    """Compile every launch of a case for one architecture, in order.

    Raises:
        MissingDependencyError: Triton is not installed.
        CheckFailedError: see compile_launch.
    """
    return [
        compile_launch(launch, architecture, operation=operation.name, case=case.name, step=step)
        for step, launch in enumerate(launches_of(operation.name, case, architecture))
    ]


def _specialize(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any], tuple[Argument, ...]]:
    """Types, constants, divisibility by 16 and run-time arguments, by Triton's own rules for just-in-time launches."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[tuple[int], Any] = {}
    arguments = []
    for index, name in enumerate(launch.kernel.arg_names):
        value: Any = launch.constants[name] if name in launch.constants else launch.arguments[name]
        if name in launch.constants or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        if isinstance(value, float):
            signature[name] = "fp32"
            arguments.append(Argument(name, "fp32", value=value))
        elif isinstance(value, int):
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            arguments.append(Argument(name, signature[name], value=value))
        else:
            dtype = str(value.dtype).removeprefix("torch.")
            signature[name] = POINTERS[dtype]
            arguments.append(Argument(name, TENSOR, dtype=dtype, elements=span_of(value)))
        aligned = not isinstance(value, int | float) or (isinstance(value, int) and value % ALIGNMENT == 0)
        if aligned:
            attributes[(index,)] = [["tt.divisibility", ALIGNMENT]]
    return signature, constants, attributes, tuple(arguments)


def span_of(tensor: Tensor) -> int:
    """Number of elements from the first to the last of a strided tensor, including gaps."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


@functools.cache  # cases that differ only in size often share their code
def _assemble(ptx: str, architecture: int) -> tuple[bytes, int, int]:
    """Machine code, registers per thread, spilled bytes."""
    import triton

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(without_line_numbers(ptx), encoding="utf-8")
        suffix = "a" if architecture >= 90 else ""
        # As Triton does: the option works around a register allocation bug in ptxas 13.
        command = [
            triton.knobs.nvidia.ptxas.path,
            "-v",
            "--regAllocOptLevel=2",
            f"--gpu-name=sm_{architecture}{suffix}",
        ]
        ptxas = subprocess.run([*command, str(source), "-o", str(target)], capture_output=True, text=True, check=False)
        if ptxas.returncode:
            raise CheckFailedError(f"ptxas failed on a kernel for sm_{architecture}:\n{ptxas.stderr}")
        registers, spill_bytes = resources_from_log(ptxas.stderr)
        return target.read_bytes(), registers, spill_bytes


def without_line_numbers(ptx: str) -> str:
    """PTX without debug information, so that the machine code contains no paths of the build machine."""
    code = ptx.partition("\n\t.file\t")[0]
    return re.sub(r"^\t\.loc\t.*\n", "", code, flags=re.MULTILINE) + "\n"


def resources_from_log(log: str) -> tuple[int, int]:
    """Registers per thread and spilled bytes (stores plus loads) from the output of `ptxas -v` for one kernel.

    Raises:
        CheckFailedError: the output has another format, as other versions of ptxas may print it.
    """
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    if registers is None or spills is None:
        raise CheckFailedError(f"cannot read registers and spills from the output of ptxas:\n{log}")
    return int(registers[1]), int(spills[1]) + int(spills[2])
