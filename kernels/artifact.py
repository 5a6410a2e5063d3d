"""A compiled kernel as a file: in, what a compiler made for one architecture; out, all that a launch needs, no Triton.

One artefact is one launch of one case: sizes, strides and grid are in it, and only the tensors' addresses are missing.
A kernel is stored as `<stem>.json` and `<stem>.cubin`; the JSON names the cubin's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError

FORMAT = 1
TENSOR, SCRATCH = "tensor", "scratch"
KINDS = {TENSOR: 8, SCRATCH: 8, "i32": 4, "i64": 8, "fp32": 4}
"""Bytes of a parameter by its kind: the address of a tensor, the address of the compiler's own memory, a number."""
ALIGNMENT = 16
"""Bytes to which every tensor's address is aligned (a launcher sees to it), and what sizes may be a multiple of."""


@dataclass(frozen=True)
class Argument:
    """One parameter of a compiled kernel, in the order of its signature.

    Attributes:
        name: of the tensor or number.
        kind: TENSOR, SCRATCH (memory that the compiler asked for: `elements` bytes, a null address where that is 0) or
            the type of a number.
        value: of a number.
        dtype: of a tensor's elements.
        elements: that the kernel may touch behind a tensor's address, gaps between strides included.
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
    """A launch that is ready for one architecture.

    Attributes:
        operation, case: what it computes.
        step: number of the launch, where a case takes several.
        architecture: 10 * major + minor of the GPUs that can run it.
        entry: name of the kernel in the cubin.
        grid: programs in x, y and z.
        warps: of 32 threads, in a program.
        shared_bytes: dynamic shared memory of a program; above 48 KB a launcher must allow it first.
        registers: of a thread.
        spill_bytes: stored to and loaded from memory because registers ran out.
        arguments: by position.
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
        """Name of its files, unique among all kernels."""
        return f"{self.operation}.{self.case}.{self.step}.sm_{self.architecture}"

    def description(self) -> dict[str, Any]:
        """All but the code, as JSON."""
        fields = asdict(self)
        fields["cubin"] = hashlib.sha256(self.cubin).hexdigest()
        return {"format": FORMAT, **fields}

    def save(self, folder: Path) -> Path:
        """Writes both files and returns the path of the JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.stem}.json"
        path.with_suffix(".cubin").write_bytes(self.cubin)
        path.write_text(json.dumps(self.description(), indent=1) + "\n", encoding="utf-8")
        return path


def load_kernel(path: Path) -> CompiledKernel:
    """The kernel that `save` wrote; `path` is that of the JSON.

    Raises:
        BadInputError: a file is missing or of another format, or the code is not the one that was described.
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
        raise BadInputError(f"{path} is no compiled kernel: {type(error).__name__}: {error}") from error
