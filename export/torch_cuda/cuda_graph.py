"""A stage on a GPU: in, a module; out, an engine of numpy arrays, whose work is one CUDA graph.

A full-size inference is some thousands of kernels, most of them shorter than their launch from Python takes. A graph
launches them all at once; for that every tensor stays where it was when the graph was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.export.stages import Stage

WARMUP = 3

REMEMBERED = ("text_hidden",)
"""Inputs that a module may take apart from its call, because they change with the instruction only."""


class EagerStage:
    """Runs a module kernel by kernel.

    Args:
        module: takes the stage's inputs in order and gives its outputs. Where it has a method `remember`, that is given
            REMEMBERED when it changes, and the call is not.
        stage: the signature.
        device: where the module is.
    """

    def __init__(self, module: nn.Module, stage: Stage, device: torch.device) -> None:
        self._module: Any = module
        self._stage = stage
        remembers = hasattr(module, "remember")
        self._remembered = [t.name for t in stage.inputs if remembers and t.name in REMEMBERED]
        # Page-locked where there is a GPU, so that copies are asynchronous.
        self._host = {
            t.name: torch.zeros(t.shape, dtype=getattr(torch, t.dtype), pin_memory=device.type == "cuda")
            for t in (*stage.inputs, *stage.outputs)
        }
        self._given = {t.name: self._host[t.name].to(device, copy=True) for t in stage.inputs}
        self._known = False

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; see `vpp_edge.bundle.engine.Engine`."""
        with torch.inference_mode():
            self._take(inputs)
            for spec, output in zip(self._stage.outputs, self._compute(), strict=True):
                self._host[spec.name].copy_(output, non_blocking=True)
            self._wait()
        return {spec.name: self._host[spec.name].numpy().copy() for spec in self._stage.outputs}

    def close(self) -> None:
        """Nothing to do: PyTorch frees tensors, and destroys a graph, with their last reference."""

    def _take(self, inputs: Mapping[str, np.ndarray]) -> None:
        for name, given in self._given.items():
            array = self._host[name].numpy()
            if name in self._remembered and self._known and np.array_equal(array, inputs[name]):
                continue
            array[...] = inputs[name]
            given.copy_(self._host[name], non_blocking=True)
            if name in self._remembered:
                self._module.remember(given)
                self._known = True

    def _compute(self) -> tuple[Tensor, ...]:
        results = self._module(*(x for name, x in self._given.items() if name not in self._remembered))
        return results if isinstance(results, tuple) else (results,)

    def _wait(self) -> None:
        if any(x.is_cuda for x in self._given.values()):
            torch.cuda.current_stream().synchronize()


class CapturedStage(EagerStage):
    """Runs a module as one CUDA graph, captured when it is made.

    UNTESTED ON A DEVICE: written from PyTorch's documentation of CUDA graphs.
    """

    def __init__(self, module: nn.Module, stage: Stage, device: torch.device) -> None:
        super().__init__(module, stage, device)
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.inference_mode(), torch.cuda.stream(self._stream), _searched_convolutions():
            for name in self._remembered:
                self._module.remember(self._given[name])
            for _ in range(WARMUP):  # what is made at first use must not be made while work is captured
                super()._compute()
            self._stream.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self._stream):
                self._results = super()._compute()
        self._stream.synchronize()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.cuda.stream(self._stream):
            return super().run(inputs)

    def _compute(self) -> tuple[Tensor, ...]:
        self.graph.replay()
        return self._results


def _searched_convolutions() -> Any:
    """Within it, cuDNN times its algorithms for a convolution that is new to it."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=cudnn.allow_tf32)
