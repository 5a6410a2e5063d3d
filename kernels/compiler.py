"""Ahead-of-time compilation: in, a launch and an architecture; out, a CompiledKernel. Needs Triton and no GPU."""

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

# Shared memory that a program may have: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability",
# less the 1 KB that the system keeps.
SHARED_LIMITS = {86: 99, 87: 163, 89: 99, 90: 227}
ARCHITECTURES = tuple(SHARED_LIMITS)

POINTERS = {"float16": "*fp16", "float32": "*fp32", "int8": "*i8"}


def compile_launch(launch: Launch, architecture: int, operation: str, case: str, step: int = 0) -> CompiledKernel:
    """The launch's kernel for one architecture, specialized as Triton would on the device.

    Args:
        launch: its tensors may be without memory (device `meta`).
        architecture: a key of SHARED_LIMITS.
        operation, case, step: what the artefact is called.

    Raises:
        CheckFailedError: the assembler refused the code, or it takes more shared memory than the architecture has.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, attributes, arguments = _specialized(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    options = {"num_warps": launch.tile.warps, "num_stages": launch.tile.stages}
    built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    shared = int(built.metadata.shared)
    if shared > SHARED_LIMITS[architecture] * 1024:
        raise CheckFailedError(
            f"{operation} {case}: {shared / 1024:.1f} KB of shared memory, and sm_{architecture} has "
            f"{SHARED_LIMITS[architecture]} KB for a program. Give it a smaller tile there."
        )
    # Triton appends two addresses to every kernel: memory for its own use, and for its profiler.
    scratch = tuple(
        Argument(f"{name}_scratch", SCRATCH, elements=int(getattr(built.metadata, f"{name}_scratch_size")))
        for name in ("global", "profile")
    )
    cubin, registers, spills = _assemble(built.asm["ptx"], architecture)
    return CompiledKernel(
        operation, case, step, architecture, built.metadata.name, launch.grid, launch.tile.warps, shared,
        registers, spills, (*arguments, *scratch), f"triton {triton.__version__}", cubin,
    )  # fmt: skip


def compile_case(operation: Operation, case: Case, architecture: int) -> list[CompiledKernel]:
    """Every launch of a case for one architecture, in order.

    Raises:
        MissingDependencyError: Triton is not installed.
        CheckFailedError: one of them cannot run there.
    """
    launches = launches_of(operation.name, case, architecture)
    return [
        compile_launch(launch, architecture, operation.name, case.name, step) for step, launch in enumerate(launches)
    ]


def _specialized(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any], tuple[Argument, ...]]:
    """Types, constants, and which arguments are multiples of 16, by Triton's own rules for a just-in-time launch."""
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
            arguments.append(Argument(name, "fp32", value))
        elif isinstance(value, int):
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            arguments.append(Argument(name, signature[name], value))
        else:
            dtype = str(value.dtype).removeprefix("torch.")
            signature[name] = POINTERS[dtype]
            arguments.append(Argument(name, TENSOR, dtype=dtype, elements=span_of(value)))
        aligned = not isinstance(value, int | float) or (isinstance(value, int) and value % ALIGNMENT == 0)
        if aligned:
            attributes[(index,)] = [["tt.divisibility", ALIGNMENT]]
    return signature, constants, attributes, tuple(arguments)


def span_of(tensor: Tensor) -> int:
    """Elements from the first to the last of a strided tensor."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


@functools.cache  # cases that differ in sizes only often share their code
def _assemble(ptx: str, architecture: int) -> tuple[bytes, int, int]:
    """Machine code, registers of a thread, bytes that it spills."""
    import triton

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(without_line_numbers(ptx), encoding="utf-8")
        suffix = "a" if architecture >= 90 else ""
        # The option is Triton's own: it works around a fault in ptxas 13's allocation of registers.
        command = [
            triton.knobs.nvidia.ptxas.path,
            "-v",
            "--regAllocOptLevel=2",
            f"--gpu-name=sm_{architecture}{suffix}",
        ]
        done = subprocess.run([*command, str(source), "-o", str(target)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CheckFailedError(f"ptxas refuses a kernel for sm_{architecture}:\n{done.stderr}")
        registers, spills = resources_from_log(done.stderr)
        return target.read_bytes(), registers, spills


def without_line_numbers(ptx: str) -> str:
    """PTX less what is for debuggers: machine code that travels names no folder of the machine that it was made on."""
    code = ptx.partition("\n\t.file\t")[0]
    return re.sub(r"^\t\.loc\t.*\n", "", code, flags=re.MULTILINE) + "\n"


def resources_from_log(log: str) -> tuple[int, int]:
    """Registers of a thread and spilled bytes from what `ptxas -v` says of one kernel.

    Raises:
        CheckFailedError: it says neither, as another version of ptxas might.
    """
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    if registers is None or spills is None:
        raise CheckFailedError(f"cannot read ptxas' report of registers and spills:\n{log}")
    return int(registers[1]), int(spills[1]) + int(spills[2])
