"""One launch of a Triton kernel as a value: in, its arguments; out, a run of it, or all that a compiler must know.

A kernel's host side never launches by itself: it lists its launches. So what is run, interpreted on a CPU, and compiled
ahead of time for another machine is one and the same list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ORIN = 87
LOG2_E = 1.4426950408889634  # exp(x) = 2 ** (x * LOG2_E), and 2 ** x is one instruction


@dataclass(frozen=True)
class Tile:
    """How a kernel cuts its work.

    Attributes:
        rows: of the result, per program.
        columns: of the result, or keys or channels, per step.
        warps: of 32 threads, per program.
        stages: loads in flight in the kernel's loop.
        reason: why these numbers.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    reason: str


@dataclass(frozen=True)
class Launch:
    """One kernel with everything that its launch needs.

    Attributes:
        kernel: a function under `triton.jit`.
        grid: programs in x, y and z.
        arguments: by parameter, in any order; None leaves an optional input out at compile time.
        constants: by `tl.constexpr` parameter.
        tile: whose warps and stages are used.
    """

    kernel: Any
    grid: tuple[int, int, int]
    arguments: Mapping[str, Tensor | int | float | None]
    constants: Mapping[str, float]
    tile: Tile

    def run(self) -> None:
        """Runs it on the current device and stream, or in Triton's interpreter where that is switched on."""
        self.kernel[self.grid](
            **self.arguments, **self.constants, num_warps=self.tile.warps, num_stages=self.tile.stages
        )


def architecture_of(tensor: Tensor) -> int:
    """10 * major + minor of the GPU that holds a tensor; that of an Orin elsewhere, where kernels are interpreted."""
    if tensor.device.type != "cuda":
        return ORIN
    import torch

    major, minor = torch.cuda.get_device_capability(tensor.device)
    return 10 * major + minor


def power_of_two(count: int, least: int = 1) -> int:
    """The smallest power of two that is at least `count` and at least `least`."""
    return max(least, 1 << max(count - 1, 0).bit_length())


def ceil_div(count: int, size: int) -> int:
    """How many blocks of `size` hold `count`."""
    return -(-count // size)


def strides_of(name: str, tensor: Tensor, *axes: str) -> dict[str, int]:
    """`name_axis` and its stride in elements, for the leading axes of a tensor."""
    return {f"{name}_{axis}": tensor.stride(index) for index, axis in enumerate(axes)}
