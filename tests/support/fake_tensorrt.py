"""A fake TensorRT: engines that double their input, on the memory of a FakeCudart.

As in TensorRT, an object is destroyed with its last reference; FakeCudart checks when.
"""

from __future__ import annotations

import ctypes
from types import ModuleType, SimpleNamespace

import numpy as np
from fake_cuda import FakeCudart

from vpp_edge.bundle.manifest import StageRecord
from vpp_edge.spec.policy import TensorSpec

DOUBLE = StageRecord(
    name="double",
    graph="double.onnx",
    weights=None,
    precision="fp32",
    inputs=(TensorSpec("x", "float32", (2, 3)), TensorSpec("on", "bool", (1,))),
    outputs=(TensorSpec("y", "float32", (2, 3)),),
)


class _Destroyed:
    """An object that reports to the fake CUDA when its last reference is dropped."""

    def __init__(self, cudart: FakeCudart, kind: str) -> None:
        self._cudart, self._kind, self._handle = cudart, kind, cudart.create(kind)

    def __del__(self) -> None:
        self._cudart.destroy(self._kind, self._handle)


class FakeContext(_Destroyed):
    """y = 2 x by addresses, as an IExecutionContext would compute it."""

    def __init__(self, cudart: FakeCudart, capturable: bool) -> None:
        super().__init__(cudart, "context")
        self._capturable, self._addresses = capturable, dict[str, int]()

    def is_stream_capturable(self, stream: int) -> bool:
        return self._capturable

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        if not self._cudart.step("execute_async_v3"):
            return False
        x, y = (np.frombuffer((ctypes.c_float * 6).from_address(self._addresses[n]), np.float32) for n in "xy")
        self._cudart.do(lambda: np.multiply(x, 2, out=y))
        return True


class FakeEngine(_Destroyed):
    """An ICudaEngine with the tensors of a stage."""

    def __init__(self, cudart: FakeCudart, stage: StageRecord, capturable: bool) -> None:
        super().__init__(cudart, "engine")
        self._tensors, self._capturable = {t.name: t for t in (*stage.inputs, *stage.outputs)}, capturable
        self._inputs = {t.name for t in stage.inputs}
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self._inputs else "output"

    def get_tensor_dtype(self, name: str) -> str:
        return self._tensors[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def create_execution_context(self) -> FakeContext | None:
        return FakeContext(self._cudart, self._capturable) if self._cudart.step("create_execution_context") else None


class FakeRuntime(_Destroyed):
    """An IRuntime that makes engines of one stage, whatever their bytes."""

    def __init__(self, trt: FakeTensorRT) -> None:
        super().__init__(trt.cudart, "runtime")
        self._trt = trt
        self.engine_host_code_allowed = True

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        self._trt.deserialized.append(bytes(plan))
        self._trt.host_code.append(self.engine_host_code_allowed)
        if self._trt.stage is None or not self._cudart.step("deserialize_cuda_engine"):
            return None
        return FakeEngine(self._cudart, self._trt.stage, self._trt.capturable)


class FakeTensorRT(ModuleType):
    """A TensorRT that records what it is asked to deserialize.

    Args:
        stage: the signature of its engines; None: it rejects all.
        capturable: what its contexts say of the stream.
    """

    __version__ = "10.3.0"
    TensorIOMode = SimpleNamespace(INPUT="input")
    ILogger = type("ILogger", (), {"Severity": SimpleNamespace(ERROR=1)})

    def __init__(self, cudart: FakeCudart, stage: StageRecord | None = None, capturable: bool = True) -> None:
        super().__init__("tensorrt")
        self.cudart, self.stage, self.capturable = cudart, stage, capturable
        self.deserialized: list[bytes] = []
        self.host_code: list[bool] = []

    @staticmethod
    def nptype(dtype: str) -> type:
        return np.dtype(dtype).type

    def Runtime(self, logger: object) -> FakeRuntime:
        return FakeRuntime(self)
