"""What an operation computes and at which sizes, and its input tensors: random ones, or meta tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One set of sizes that a kernel must support.

    Attributes:
        name: unique within the operation.
        sizes: size by the letter that the operation's `cases.py` explains.
        calls: calls per inference of the released xhand policy with two cameras; 0 for small cases that exist for the
            interpreter.
        precision: precision of the policy that makes these calls; "fp16" if both FP16 and INT8 policies do.
    """

    name: str
    sizes: Mapping[str, int]
    calls: int = 0
    precision: str = "fp16"

    @property
    def interpreted(self) -> bool:
        """Whether the case is small enough for Triton's interpreter."""
        return self.calls == 0


@dataclass(frozen=True)
class Operation:
    """Description of an operation that does not need Triton.

    Attributes:
        name: name of its folder.
        fuses: the steps of eager code that the kernel fuses.
        reference: plain PyTorch, step by step as in eager code, in the dtype of its inputs.
        inputs: makes the keyword arguments of kernel and reference from sizes, with tensors from the factory.
        matmul_ops: operations in matrix products by sizes, 2 per multiply-accumulate.
        cases: full-size cases and small ones for the interpreter.
    """

    name: str
    fuses: str
    reference: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Callable[[Mapping[str, int], TensorFactory], dict[str, Any]]
    matmul_ops: Callable[[Mapping[str, int]], int]
    cases: tuple[Case, ...]

    def case(self, name: str) -> Case:
        """The case with this name.

        Raises:
            BadInputError: the name is unknown.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise BadInputError(f"{self.name} has no case {name!r}; it has {', '.join(c.name for c in self.cases)}")


class TensorFactory:
    """Makes the input tensors of a case.

    Args:
        device: where to allocate them; `meta` for meta tensors.
        seed: of the random numbers on any other device.
    """

    def __init__(self, device: str, seed: int = 0) -> None:
        import torch

        self.device = device
        self.generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)

    def __call__(
        self, *shape: int, scale: float = 1.0, offset: float = 0.0, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Normally distributed numbers with standard deviation `scale` and mean `offset`, fp16 by default."""
        import torch

        tensor = torch.empty(shape, dtype=torch.float32, device=self.device)
        if self.generator is not None:
            tensor.normal_(generator=self.generator).mul_(scale).add_(offset)
        return tensor.to(dtype or torch.float16)
