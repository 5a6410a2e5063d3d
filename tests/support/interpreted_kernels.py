"""A child process that runs kernels in Triton's interpreter and compares their results with the references.

Triton and its function library read TRITON_INTERPRET at import. So the variable is set only for a child process, and
other tests never see Triton in interpreter mode. The child answers each line of JSON with one line of JSON.

Every tensor is embedded in a buffer of NaN: between its rows, before and after it. A result is NaN before the kernel
runs. Memory between the rows of `far` tensors is never touched and so not backed by pages.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYOUTS = {"gaps": 90, "packed": 87, "far": 87, "in place": 87}
"""Memory layouts, and the architecture whose tiles are used. `packed`: strides of the case. `gaps`: gaps between rows,
of a different width for each tensor. `far`: the last row starts beyond 2^31 elements. `in place`: packed, and the first
result overwrites the first input."""

FAR = 2**31

SEED = 5


@dataclass(frozen=True)
class CheckResult:
    """One result of a kernel.

    Attributes:
        tensor: index of the result.
        shape: its shape.
        within: whether it is within the operation's limits and nothing was written outside of it.
        message: both errors, both limits, the shape and the seed.
    """

    tensor: int
    shape: tuple[int, ...]
    within: bool
    message: str


class Interpreter:
    """Context manager that owns the child process."""

    def __enter__(self) -> Interpreter:
        self._child = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stdin.close()
        self._child.wait(timeout=30)

    def check(self, operation: str, case: str, layout: str, source: Path | None = None) -> list[CheckResult]:
        """Run a case; `source` is a file that replaces the operation's `kernel.py`."""
        request = {"operation": operation, "case": case, "layout": layout, "source": str(source) if source else None}
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:  # planted errors can crash it
            status = self._child.wait(timeout=30)
            self._child = self._started()
            message = f"the interpreter exited with status {status}"
            return [CheckResult(tensor=0, shape=(), within=False, message=message)]
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{operation} {case} {layout}: {answer['error']}")
        return [CheckResult(**result) for result in answer["results"]]

    @staticmethod
    def _started() -> subprocess.Popen[str]:
        environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )


def main() -> None:
    import numpy as np

    np.seterr(all="ignore")
    for line in sys.stdin:
        try:
            answer = {"results": [vars(result) for result in _check(**json.loads(line))]}
        except Exception as error:  # noqa: BLE001 - raised by the parent
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _check(operation: str, case: str, layout: str, source: str | None) -> list[CheckResult]:
    import torch

    from vpp_edge.kernels.catalogue import kernel_module, load_operation
    from vpp_edge.kernels.operation import TensorFactory

    module = kernel_module(operation) if source is None else _module(source)
    description = load_operation(operation)
    packed = description.inputs(description.case(case).sizes, TensorFactory("cpu", SEED))
    exact = {name: x.double() if isinstance(x, torch.Tensor) else x for name, x in packed.items()}
    expected = _tuple(description.reference(**exact))
    buffer = Far if layout == "far" else Guarded
    widths = itertools.count(8, 8) if layout == "gaps" else itertools.repeat(0)
    buffers = {n: buffer(x, next(widths)) for n, x in packed.items() if isinstance(x, torch.Tensor)}
    inputs = packed | {name: tensor.view for name, tensor in buffers.items()}
    like = module.outputs(**packed)
    results = [buffer(x, next(widths), poisoned=True) for x in _tuple(like)]
    if layout == "in place":
        results[0] = next(iter(buffers.values()))
    views = tuple(result.view for result in results)
    out = views if isinstance(like, tuple) else views[0]
    known = {id(x) for x in (*inputs.values(), *views)}
    for launch in module.launches(out, **inputs, architecture=LAYOUTS[layout]):
        for argument in launch.arguments.values():
            # Intermediate memory is poisoned before the launch that writes it.
            if isinstance(argument, torch.Tensor) and id(argument) not in known:
                argument.fill_(float("nan"))
                known.add(id(argument))
        launch.run()
    if (
        layout == "packed"
        and source is None
        and not all(map(torch.equal, _tuple(getattr(module, operation)(**inputs)), views))
    ):
        raise RuntimeError(f"{operation}() and its launches give different results")
    return [_checked(operation, i, r, e) for i, (r, e) in enumerate(zip(results, expected, strict=True))]


class Guarded:
    """A tensor in the middle of a poisoned buffer, with gaps of `gap` elements between its rows."""

    def __init__(self, tensor: Any, gap: int, poisoned: bool = False) -> None:
        import torch

        strides = _strides_with_gaps(tensor, gap) if gap else tensor.stride()
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
        margin = 4 * span + 8192
        self.poison = 77 if tensor.dtype == torch.int8 else float("nan")
        self.buffer = torch.full((2 * margin + span,), self.poison, dtype=tensor.dtype)
        self.view = self.buffer.as_strided(tensor.shape, strides, margin)
        if not poisoned:
            self.view.copy_(tensor)

    def is_intact(self) -> bool:
        """Whether everything around the tensor is unchanged."""
        import torch

        outside = torch.ones(self.buffer.shape, dtype=torch.bool)
        view = self.view
        outside.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(False)
        rest = self.buffer[outside]
        return bool((rest == self.poison).all() if rest.dtype == torch.int8 else rest.isnan().all())


class Far:
    """A tensor with rows so far apart that the offset of the last one exceeds 32 bits."""

    def __init__(self, tensor: Any, gap: int, poisoned: bool = False) -> None:
        import torch

        rows = tensor.numel() // tensor.shape[_innermost(tensor)]
        strides = _strides_with_gaps(tensor, gap + FAR // (rows - 1) + 1) if rows > 1 else tensor.stride()
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
        self.view = torch.empty(span, dtype=tensor.dtype).as_strided(tensor.shape, strides)
        self.view.copy_(
            torch.full_like(tensor, 77 if tensor.dtype == torch.int8 else float("nan")) if poisoned else tensor
        )

    def is_intact(self) -> bool:
        """Always True: the memory between the rows is too large to check."""
        return True


def _innermost(tensor: Any) -> int:
    return min(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), -axis))


def _strides_with_gaps(tensor: Any, gap: int) -> list[int]:
    """Strides with the axis order of the tensor, contiguous except for `gap` elements after the innermost axis."""
    strides, step = [0] * tensor.ndim, 1
    for axis in sorted(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), -axis)):
        strides[axis] = step
        step *= tensor.shape[axis]
        if axis == _innermost(tensor):
            step += gap
    return strides


def _checked(operation: str, index: int, result: Guarded, expected: Any) -> CheckResult:
    from vpp_edge.bundle.comparison import compare
    from vpp_edge.bundle.tolerances import KERNEL_LIMITS

    shape = tuple(expected.shape)
    limits = KERNEL_LIMITS["int8" if str(expected.dtype) == "torch.int8" else operation]
    errors, intact = compare(result.view.double().numpy(), expected.double().numpy()), result.is_intact()
    message = (
        f"max {errors.max_relative:.2e}, rel. RMS {errors.rms_relative:.2e}, limits {', '.join(map(str, limits))}; "
        f"{'nothing' if intact else 'SOMETHING'} written outside; shape {shape}, seed {SEED}"
    )
    within = intact and all(limit.allows(errors) for limit in limits)
    return CheckResult(tensor=index, shape=shape, within=within, message=message)


def _module(path: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"planted_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


if __name__ == "__main__":
    main()
