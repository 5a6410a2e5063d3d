"""A process in which Triton interprets: in, names of kernels and cases; out, how far each result is from its reference.

Triton reads TRITON_INTERPRET when it is imported, and its own library of functions with it. So the variable is set for
a child, and no other test ever sees an interpreting Triton. The child answers one line of JSON for each line.

Every tensor lies in a buffer of NaN: between its rows, before and behind it. A result is NaN before the kernel runs.
Memory between the rows of `far` tensors is never touched and therefore takes no room.
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
"""How tensors lie in memory, and the architecture whose tiles are used. `packed`: strides of the case. `gaps`: every
tensor has wider rows, each by another width. `far`: its last row begins behind 2^31 elements. `in place`: packed, and
the first result takes the place of the first input."""

FAR = 2**31

SEED = 5


@dataclass(frozen=True)
class Found:
    """One result of a kernel.

    Attributes:
        tensor: number of the result.
        shape: of it.
        within: whether it is within the operation's limits, and nothing was written beside it.
        message: both errors, both limits, the shape and the seed.
    """

    tensor: int
    shape: tuple[int, ...]
    within: bool
    message: str


class Interpreter:
    """The child. A context manager."""

    def __enter__(self) -> Interpreter:
        self._child = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stdin.close()
        self._child.wait(timeout=30)

    def check(self, operation: str, case: str, layout: str, source: Path | None = None) -> list[Found]:
        """Runs a case; `source` is a file that takes the place of the operation's `kernel.py`."""
        request = {"operation": operation, "case": case, "layout": layout, "source": str(source) if source else None}
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:  # a planted error may well kill it
            status = self._child.wait(timeout=30)
            self._child = self._started()
            return [Found(0, (), False, f"the interpreter died with status {status}")]
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{operation} {case} {layout}: {answer['error']}")
        return [Found(**found) for found in answer["found"]]

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
            answer = {"found": [vars(found) for found in _check(**json.loads(line))]}
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _check(operation: str, case: str, layout: str, source: str | None) -> list[Found]:
    import torch

    from vpp_edge.kernels.catalogue import host_side
    from vpp_edge.kernels.catalogue import operation as named
    from vpp_edge.kernels.operation import TensorFactory

    host, chosen = host_side(operation), named(operation)
    if source is not None:
        host = _module(source)
    made = chosen.inputs(chosen.case(case).sizes, TensorFactory("cpu", SEED))
    exact = {name: x.double() if isinstance(x, torch.Tensor) else x for name, x in made.items()}
    expected = _tuple(chosen.reference(**exact))
    kind = Far if layout == "far" else Guarded
    widths = itertools.count(8, 8) if layout == "gaps" else itertools.repeat(0)
    held = {n: kind(x, next(widths)) for n, x in made.items() if isinstance(x, torch.Tensor)}
    inputs = made | {name: tensor.view for name, tensor in held.items()}
    like = host.outputs(**made)
    results = [kind(x, next(widths), poisoned=True) for x in _tuple(like)]
    if layout == "in place":
        results[0] = next(iter(held.values()))
    views = tuple(result.view for result in results)
    known = {id(x) for x in (*inputs.values(), *views)}
    for launch in host.launches(views if isinstance(like, tuple) else views[0], **inputs, architecture=LAYOUTS[layout]):
        for argument in launch.arguments.values():
            # Memory between launches is poisoned before it is written for the first time.
            if isinstance(argument, torch.Tensor) and id(argument) not in known:
                argument.fill_(float("nan"))
                known.add(id(argument))
        launch.run()
    if (
        layout == "packed"
        and source is None
        and not all(map(torch.equal, _tuple(getattr(host, operation)(**inputs)), views))
    ):
        raise RuntimeError(f"{operation}() does not give what its launches give")
    return [_found(operation, i, r, e) for i, (r, e) in enumerate(zip(results, expected, strict=True))]


class Guarded:
    """A tensor in the middle of a poisoned buffer, with gaps of `wider` elements between its rows."""

    def __init__(self, tensor: Any, wider: int, poisoned: bool = False) -> None:
        import torch

        strides = _widened(tensor, wider) if wider else tensor.stride()
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
        margin = 4 * span + 8192
        self.poison = 77 if tensor.dtype == torch.int8 else float("nan")
        self.buffer = torch.full((2 * margin + span,), self.poison, dtype=tensor.dtype)
        self.view = self.buffer.as_strided(tensor.shape, strides, margin)
        if not poisoned:
            self.view.copy_(tensor)

    def is_intact(self) -> bool:
        """Whether everything around the tensor still is what it was."""
        import torch

        outside = torch.ones(self.buffer.shape, dtype=torch.bool)
        view = self.view
        outside.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(False)
        rest = self.buffer[outside]
        return bool((rest == self.poison).all() if rest.dtype == torch.int8 else rest.isnan().all())


class Far:
    """A tensor that is spread over so much memory that the offset of its last row is no 32-bit number."""

    def __init__(self, tensor: Any, wider: int, poisoned: bool = False) -> None:
        import torch

        rows = tensor.numel() // tensor.shape[_innermost(tensor)]
        strides = _widened(tensor, wider + FAR // (rows - 1) + 1) if rows > 1 else tensor.stride()
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
        self.view = torch.empty(span, dtype=tensor.dtype).as_strided(tensor.shape, strides)
        self.view.copy_(
            torch.full_like(tensor, 77 if tensor.dtype == torch.int8 else float("nan")) if poisoned else tensor
        )

    def is_intact(self) -> bool:
        """Nobody can look at all that lies between."""
        return True


def _innermost(tensor: Any) -> int:
    return min(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), -axis))


def _widened(tensor: Any, wider: int) -> list[int]:
    """Strides in the order of the tensor's own, dense but for `wider` elements behind its innermost axis."""
    strides, step = [0] * tensor.ndim, 1
    for axis in sorted(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), -axis)):
        strides[axis] = step
        step *= tensor.shape[axis]
        if axis == _innermost(tensor):
            step += wider
    return strides


def _found(operation: str, index: int, result: Guarded, expected: Any) -> Found:
    from vpp_edge.bundle.comparison import compare
    from vpp_edge.bundle.tolerances import KERNEL_LIMITS

    shape = tuple(expected.shape)
    limits = KERNEL_LIMITS["int8" if str(expected.dtype) == "torch.int8" else operation]
    errors, intact = compare(result.view.double().numpy(), expected.double().numpy()), result.is_intact()
    message = (
        f"max {errors.max_relative:.2e}, rel. RMS {errors.rms_relative:.2e}, limits {', '.join(map(str, limits))}; "
        f"{'nothing' if intact else 'SOMETHING'} written outside; shape {shape}, seed {SEED}"
    )
    return Found(index, shape, intact and all(limit.allows(errors) for limit in limits), message)


def _module(path: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"planted_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


if __name__ == "__main__":
    main()
