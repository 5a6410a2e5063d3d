"""Named inputs of a kernel: in, sizes; out, tensors drawn from a seed, or without memory to count and compile with."""

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
    """One set of sizes that a kernel must serve.

    Attributes:
        name: unique within the operation.
        sizes: by the letter or word that the operation's `cases.py` explains.
        calls: how often an inference of the released xhand policy with two cameras does this; 0 for a case that is cut
            for the interpreter.
        precision: of the policy that does; what is the same in fp16 and int8 counts as fp16.
    """

    name: str
    sizes: Mapping[str, int]
    calls: int = 0
    precision: str = "fp16"

    @property
    def interpreted(self) -> bool:
        """Whether it is small enough for Triton's interpreter."""
        return self.calls == 0


@dataclass(frozen=True)
class Operation:
    """What an operation says of itself without Triton.

    Attributes:
        name: of its folder.
        instead_of: the steps of eager code that it does in one pass.
        reference: plain PyTorch, step by step as eager code computes it, in the dtype of its inputs.
        inputs: keyword arguments of kernel and reference from sizes; the factory makes one tensor of them.
        products: operations of the matrix products, 2 per multiply-accumulate.
        cases: full-size cases and those cut for the interpreter.
    """

    name: str
    instead_of: str
    reference: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Callable[[Mapping[str, int], TensorFactory], dict[str, Any]]
    products: Callable[[Mapping[str, int]], int]
    cases: tuple[Case, ...]

    def case(self, name: str) -> Case:
        """The case of this name.

        Raises:
            BadInputError: there is none.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise BadInputError(f"{self.name} has no case {name!r}; it has {', '.join(c.name for c in self.cases)}")


class TensorFactory:
    """Makes the input tensors of a case.

    Args:
        device: `meta` for tensors without memory.
        seed: what they are drawn from elsewhere.
    """

    def __init__(self, device: str, seed: int = 0) -> None:
        import torch

        self.device = device
        self.generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)

    def __call__(
        self, *shape: int, scale: float = 1.0, offset: float = 0.0, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Normal numbers of this deviation and mean, fp16 where no dtype is given."""
        import torch

        made = torch.empty(shape, dtype=torch.float32, device=self.device)
        if self.generator is not None:
            made.normal_(generator=self.generator).mul_(scale).add_(offset)
        return made.to(dtype or torch.float16)
