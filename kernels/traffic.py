"""What a case must do at least, and what eager code does: in, an operation and a case; out, bytes and operations.

This is the floor that every benchmark compares with. Nothing is measured: the reference runs on tensors without memory,
and each of its functions counts as one kernel that reads its inputs and writes its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vpp_edge.kernels.operation import Case, Operation, TensorFactory


@dataclass(frozen=True)
class Traffic:
    """Bytes and operations of one case.

    Attributes:
        read_bytes, written_bytes: every input and every result, once.
        operations: of the matrix products, 2 per multiply-accumulate.
        eager_bytes: moved by eager PyTorch, function by function.
        eager_kernels: how many functions do.
    """

    read_bytes: int
    written_bytes: int
    operations: int
    eager_bytes: int
    eager_kernels: int

    @property
    def floor_bytes(self) -> int:
        return self.read_bytes + self.written_bytes

    def floor_s(self, bytes_per_s: float, operations_per_s: float) -> float:
        """Seconds that no kernel can go below on a device of this bandwidth and these matrix operations per second."""
        return max(self.floor_bytes / bytes_per_s, self.operations / operations_per_s)


def traffic_of(operation: Operation, case: Case) -> Traffic:
    """The floor of a case, and what eager code moves for it."""
    inputs = operation.inputs(case.sizes, TensorFactory("meta"))
    with CountedFunctions() as eager:
        results = operation.reference(**inputs)
    read = sum(bytes_of(value) for value in inputs.values() if isinstance(value, Tensor))
    written = sum(bytes_of(tensor) for tensor in _tensors(results))
    return Traffic(read, written, operation.products(case.sizes), eager.bytes, eager.kernels)


class CountedFunctions(TorchFunctionMode):
    """Counts what PyTorch's functions read and write while it is entered; views cost nothing.

    Attributes:
        bytes: moved.
        kernels: functions that moved any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.kernels = 0, 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {id(tensor): tensor for tensor in _tensors((args, kwargs or {}))}
        storages = {_storage(tensor) for tensor in given.values()}
        made = [tensor for tensor in _tensors(result) if _storage(tensor) not in storages]
        if made:
            self.bytes += sum(map(bytes_of, (*given.values(), *made)))
            self.kernels += 1
        return result


def bytes_of(tensor: Tensor) -> int:
    """Of all elements of a tensor."""
    return tensor.numel() * tensor.element_size()


def _storage(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.untyped_storage()._cdata


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
