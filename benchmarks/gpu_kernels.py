"""Times every kernel at every full size next to PyTorch, with its floor on this device.

The results are compared with the reference in float64 first; a wrong kernel is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_timing import Bench
from torch import Tensor

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.tolerances import KERNEL_LIMITS
from vpp_edge.errors import CheckFailedError
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.kernels.catalogue import OPERATIONS, load_operation
from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.traffic import traffic_of

SEED = 0


def measured_kernels(bench: Bench, kernels: Operations, ceilings: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One record per case.

    Args:
        kernels: the functions to time, by operation.
        ceilings: from `Bench.ceilings`.

    Raises:
        CheckFailedError: a result is not within the limits of its operation.
    """
    for name in OPERATIONS:
        operation = load_operation(name)
        cases = [c for c in operation.cases if c.interpreted == (bench.device.type != "cuda")]
        traffic = {case.name: traffic_of(operation, case) for case in cases}
        heaviest = max(cases, key=lambda c: c.calls * traffic[c.name].floor_bytes)
        for case in cases:
            yield _measured(
                bench, operation, case, kernel=kernels[name], ceilings=ceilings, with_compile=case is heaviest
            )


def _measured(
    bench: Bench,
    operation: Operation,
    case: Case,
    kernel: Callable[..., Any],
    ceilings: dict[str, float],
    with_compile: bool,
) -> dict[str, Any]:
    inputs = operation.inputs(case.sizes, TensorFactory(str(bench.device), SEED))
    check(operation, case, kernel, inputs)
    traffic = traffic_of(operation, case)
    ours = bench.time(lambda: kernel(**inputs))
    eager = bench.time(lambda: operation.reference(**inputs))
    record = {
        "kernel": operation.name,
        "case": case.name,
        "precision": case.precision,
        "calls": case.calls,
        "p50_us": 1e6 * ours.p50_s,
        "p99_us": 1e6 * ours.p99_s,
        "eager_p50_us": 1e6 * eager.p50_s,
        "floor_bytes": traffic.floor_bytes,
        "operations": traffic.operations,
        "floor_us": 1e6 * traffic.floor_s(**ceilings),
    }
    if with_compile and bench.device.type == "cuda":
        compiled = torch.compile(operation.reference, mode="max-autotune-no-cudagraphs", dynamic=False)
        record["compile_p50_us"] = 1e6 * bench.time(lambda: compiled(**inputs)).p50_s
        torch.compiler.reset()
    return record


def check(operation: Operation, case: Case, kernel: Callable[..., Any], inputs: dict[str, Any]) -> None:
    """Raises CheckFailedError unless the kernel's results are within its limits of the reference in float64."""
    exact = operation.reference(**{n: x.double() if isinstance(x, Tensor) else x for n, x in inputs.items()})
    for result, expected in zip(_tuple(kernel(**inputs)), _tuple(exact), strict=True):
        errors = compare(result.double().cpu().numpy(), expected.double().cpu().numpy())
        limits = KERNEL_LIMITS["int8" if expected.dtype == torch.int8 else operation.name]
        if not all(limit.allows(errors) for limit in limits):
            raise CheckFailedError(
                f"{operation.name} {case.name}: {errors}, allowed {', '.join(map(str, limits))}; "
                f"shape {tuple(expected.shape)}, seed {SEED}"
            )


def _tuple(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
