"""A stage on a GPU: an engine with numpy inputs and outputs that runs a module, eagerly or as one CUDA graph.

A full-size inference is some thousands of kernels, most of which run shorter than it takes to launch them from Python.
A graph launches them all at once; this requires that every tensor keeps the address it had during capture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.export.stages import Stage

WARMUP = 3

CACHED_INPUTS = ("text_hidden",)
"""Inputs that change only with the instruction, so that a module can cache what it computes from them."""


class EagerStage:
    """Runs a module kernel by kernel.

    Args:
        module: returns the stage's outputs from its inputs, in order. If it has a method `cache_text`, it gets
            CACHED_INPUTS through that method whenever they change, instead of through its call.
        stage: the signature.
        device: the module's device.
    """

    def __init__(self, module: nn.Module, stage: Stage, device: torch.device) -> None:
        self._module: Any = module
        self._stage = stage
        has_cache = hasattr(module, "cache_text")
        self._cached_inputs = [t.name for t in stage.inputs if has_cache and t.name in CACHED_INPUTS]
        # Pinned memory on a GPU, so that copies are asynchronous.
        self._host = {
            t.name: torch.zeros(t.shape, dtype=getattr(torch, t.dtype), pin_memory=device.type == "cuda")
            for t in (*stage.inputs, *stage.outputs)
        }
        self._inputs = {t.name: self._host[t.name].to(device, copy=True) for t in stage.inputs}
        self._cache_is_filled = False

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; see `vpp_edge.bundle.engine.Engine`."""
        with torch.inference_mode():
            self._upload(inputs)
            for spec, output in zip(self._stage.outputs, self._compute(), strict=True):
                self._host[spec.name].copy_(output, non_blocking=True)
            self._synchronize()
        return {spec.name: self._host[spec.name].numpy().copy() for spec in self._stage.outputs}

    def _upload(self, inputs: Mapping[str, np.ndarray]) -> None:
        for name, tensor in self._inputs.items():
            array = self._host[name].numpy()
            if name in self._cached_inputs and self._cache_is_filled and np.array_equal(array, inputs[name]):
                continue
            array[...] = inputs[name]
            tensor.copy_(self._host[name], non_blocking=True)
            if name in self._cached_inputs:
                self._module.cache_text(tensor)
                self._cache_is_filled = True

    def _compute(self) -> tuple[Tensor, ...]:
        outputs = self._module(*(x for name, x in self._inputs.items() if name not in self._cached_inputs))
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _synchronize(self) -> None:
        if any(x.is_cuda for x in self._inputs.values()):
            torch.cuda.current_stream().synchronize()


class CudaGraphStage(EagerStage):
    """Runs a module as one CUDA graph, captured on construction.

    UNTESTED ON A DEVICE: written from PyTorch's documentation of CUDA graphs.
    """

    def __init__(self, module: nn.Module, stage: Stage, device: torch.device) -> None:
        super().__init__(module, stage, device)
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.inference_mode(), torch.cuda.stream(self._stream), _cudnn_benchmark():
            for name in self._cached_inputs:
                self._module.cache_text(self._inputs[name])
            for _ in range(WARMUP):  # lazy initialization must not happen during capture
                super()._compute()
            self._stream.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self._stream):
                self._outputs = super()._compute()
        self._stream.synchronize()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.cuda.stream(self._stream):
            return super().run(inputs)

    def _compute(self) -> tuple[Tensor, ...]:
        self.graph.replay()
        return self._outputs


def _cudnn_benchmark() -> Any:
    """Context in which cuDNN times its algorithms for each new convolution and picks the fastest."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=cudnn.allow_tf32)
