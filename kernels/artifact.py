"""Compiled kernels on disk: machine code for one architecture with everything that launching it needs, without Triton.

An artifact is one launch of one case: sizes, strides and grid are fixed, only the addresses of the tensors are open.
It is stored as `<stem>.json` and `<stem>.cubin`; the JSON contains the cubin's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.writing import write_whole

FORMAT = 1
TENSOR, SCRATCH = "tensor", "scratch"
KINDS = {TENSOR: 8, SCRATCH: 8, "i32": 4, "i64": 8, "fp32": 4}
"""Bytes of a parameter by kind: the address of a tensor, the address of scratch memory, a number."""
ALIGNMENT = 16
"""Every tensor address is a multiple of this (the launcher checks it), and the code relies on it."""


@dataclass(frozen=True)
class Argument:
    """One parameter of a compiled kernel, in the order of its signature.

    Attributes:
        name: the parameter's name.
        kind: TENSOR, SCRATCH (`elements` bytes of memory for the compiler's own use; the address is null if that is 0),
            or the type of a number.
        value: value of a number.
        dtype: element type of a tensor.
        elements: number of elements that the kernel may access from a tensor's address on, including gaps between rows.
    """

    name: str
    kind: str
    value: int | float | None = None
    dtype: str | None = None
    elements: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInputError(f"argument {self.name}: unknown kind {self.kind!r}; expected one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class CompiledKernel:
    """One launch, compiled for one architecture.

    Attributes:
        operation, case: names of what it computes.
        step: index of the launch in cases that take several.
        architecture: compute capability, 10 * major + minor.
        entry: name of the kernel in the cubin.
        grid: number of programs in x, y and z.
        warps: warps of 32 threads per program.
        shared_bytes: dynamic shared memory per program; above 48 KB the launcher must request it first.
        registers: registers per thread.
        spill_bytes: bytes of spill stores and loads per thread.
        arguments: the kernel's parameters by position.
        compiler: name and version.
        cubin: machine code.
    """

    operation: str
    case: str
    step: int
    architecture: int
    entry: str
    grid: tuple[int, int, int]
    warps: int
    shared_bytes: int
    registers: int
    spill_bytes: int
    arguments: tuple[Argument, ...]
    compiler: str
    cubin: bytes

    @property
    def stem(self) -> str:
        """File name without suffix, unique among all kernels."""
        return f"{self.operation}.{self.case}.{self.step}.sm_{self.architecture}"

    def description(self) -> dict[str, Any]:
        """Everything but the machine code, as a JSON object."""
        fields = asdict(self)
        fields["cubin"] = hashlib.sha256(self.cubin).hexdigest()
        return {"format": FORMAT, **fields}

    def save(self, folder: Path) -> Path:
        """Write both files and return the path of the JSON."""
        path = folder / f"{self.stem}.json"
        write_whole(path.with_suffix(".cubin"), self.cubin)
        write_whole(path, json.dumps(self.description(), indent=1) + "\n")
        return path


def load_kernel(path: Path) -> CompiledKernel:
    """Load an artifact written by `save`; `path` is the JSON file.

    Raises:
        BadInputError: a file is missing or has another format, or the cubin's SHA-256 does not match.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        cubin = path.with_suffix(".cubin").read_bytes()
        if fields.pop("format") != FORMAT:
            raise BadInputError(f"{path}: expected format {FORMAT}; compile it again with this version of vpp-edge")
        if hashlib.sha256(cubin).hexdigest() != fields["cubin"]:
            raise BadInputError(f"{path.with_suffix('.cubin')} was changed since it was compiled; compile it again")
        fields["arguments"] = tuple(Argument(**argument) for argument in fields["arguments"])
        fields["grid"] = tuple(fields["grid"])
        return CompiledKernel(**{**fields, "cubin": cubin})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{path} is not a compiled kernel: {type(error).__name__}: {error}") from error
