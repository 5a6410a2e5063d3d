"""One launch of a Triton kernel as data: it can be run, or compiled ahead of time.

A kernel's module does not launch directly, it returns a list of launches. So the same list is run on a GPU,
interpreted on a CPU and compiled for another machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ORIN = 87
LOG2_E = 1.4426950408889634  # exp(x) = 2 ** (x * LOG2_E), and 2 ** x is a single instruction


@dataclass(frozen=True)
class Tile:
    """How a kernel divides its work.

    Attributes:
        rows: rows of the result per program.
        columns: columns of the result, keys or channels per step.
        warps: warps of 32 threads per program.
        stages: depth of software pipelining in the kernel's loop.
        reason: why these numbers were chosen.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    reason: str


@dataclass(frozen=True)
class Launch:
    """A kernel with everything needed to launch it.

    Attributes:
        kernel: a `triton.jit` function.
        grid: number of programs in x, y and z.
        arguments: value by parameter, in any order; None removes an optional input at compile time.
        constants: value by `tl.constexpr` parameter.
        tile: provides warps and stages.
    """

    kernel: Any
    grid: tuple[int, int, int]
    arguments: Mapping[str, Tensor | int | float | None]
    constants: Mapping[str, float]
    tile: Tile

    def run(self) -> None:
        """Launch on the current device and stream, or in Triton's interpreter if that is enabled."""
        self.kernel[self.grid](
            **self.arguments, **self.constants, num_warps=self.tile.warps, num_stages=self.tile.stages
        )


def architecture_of(tensor: Tensor) -> int:
    """Compute capability of a tensor's GPU, 10 * major + minor; ORIN on a CPU, where kernels are interpreted."""
    if tensor.device.type != "cuda":
        return ORIN
    import torch

    major, minor = torch.cuda.get_device_capability(tensor.device)
    return 10 * major + minor


def power_of_two(count: int, minimum: int = 1) -> int:
    """The smallest power of two that is at least `count`, but at least `minimum`."""
    return max(minimum, 1 << max(count - 1, 0).bit_length())


def ceil_div(count: int, size: int) -> int:
    """Number of blocks of `size` needed for `count` elements."""
    return -(-count // size)


def strides_of(name: str, tensor: Tensor, *axes: str) -> dict[str, int]:
    """Stride in elements by `<name>_<axis>`, for the leading axes of a tensor."""
    return {f"{name}_{axis}": tensor.stride(index) for index, axis in enumerate(axes)}
