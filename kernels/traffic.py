"""Memory traffic and operations of a case: the minimum, and what eager PyTorch moves.

The minimum is the floor that benchmarks compare with. Nothing is measured: the reference runs on meta tensors, and each
function that it calls counts as one kernel that reads its inputs and writes its results.
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
        read_bytes, written_bytes: size of all inputs, and of all results.
        operations: operations in matrix products, 2 per multiply-accumulate.
        eager_bytes: bytes moved by eager PyTorch, summed over its functions.
        eager_kernels: number of functions that move bytes.
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
        """Lower bound in seconds on a device with this bandwidth and this rate of matrix operations (roofline)."""
        return max(self.floor_bytes / bytes_per_s, self.operations / operations_per_s)


def traffic_of(operation: Operation, case: Case) -> Traffic:
    """Count the traffic of a case."""
    inputs = operation.inputs(case.sizes, TensorFactory("meta"))
    with TrafficCounter() as eager:
        results = operation.reference(**inputs)
    read = sum(bytes_of(value) for value in inputs.values() if isinstance(value, Tensor))
    written = sum(bytes_of(tensor) for tensor in _tensors(results))
    return Traffic(
        read_bytes=read,
        written_bytes=written,
        operations=operation.matmul_ops(case.sizes),
        eager_bytes=eager.bytes,
        eager_kernels=eager.kernels,
    )


def row_of_case(operation: Operation, case: Case) -> dict[str, Any]:
    """Traffic and operations of one call of a case, as the table of `vpp-edge kernels list` keeps them."""
    traffic = traffic_of(operation, case)
    return {
        "kernel": operation.name,
        "case": case.name,
        "fuses": operation.fuses,
        "precision": case.precision,
        "calls": case.calls,
        "sizes": dict(case.sizes),
        "floor_bytes": traffic.floor_bytes,
        "eager_bytes": traffic.eager_bytes,
        "eager_kernels": traffic.eager_kernels,
        "operations": traffic.operations,
    }


class TrafficCounter(TorchFunctionMode):
    """Counts the bytes that PyTorch functions read and write inside this context; views are free.

    Attributes:
        bytes: bytes read and written.
        kernels: number of functions that moved bytes.
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
        inputs = {id(tensor): tensor for tensor in _tensors((args, kwargs or {}))}
        storages = {_storage(tensor) for tensor in inputs.values()}
        outputs = [tensor for tensor in _tensors(result) if _storage(tensor) not in storages]
        if outputs:
            self.bytes += sum(map(bytes_of, (*inputs.values(), *outputs)))
            self.kernels += 1
        return result


def bytes_of(tensor: Tensor) -> int:
    """Size of a tensor's elements, without gaps."""
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
