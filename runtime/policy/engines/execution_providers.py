"""ONNX Runtime's execution providers: in, a name of ours; out, what a session is asked for, and whether it obeyed.

ONNX Runtime goes on without a provider that is not installed or does not start, on the CPU. Here both are errors. None
of this was run on a GPU yet: what was tried is how each of them is refused without one.
"""

from __future__ import annotations

import platform
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html. Not set: enable_cuda_graph, which needs
# inputs and outputs at fixed addresses of the GPU, where our engines take arrays; backend `tensorrt` has both.
_CUDA_OPTIONS = {
    # Shapes never change, so a convolution is searched once, in the first inference; the search may take any workspace.
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    # The other way doubles what it takes, and a Jetson's GPU takes it from the memory of everything else.
    "arena_extend_strategy": "kSameAsRequested",
    # 10 bits of mantissa is not what a float32 bundle was verified with.
    "use_tf32": "0",
}
# https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html. It has no option for strongly typed
# networks, nor against TF32 (NVIDIA_TF32_OVERRIDE=0 in the environment is one): verify a bundle with it before it runs.
_TENSORRT_OPTIONS = {
    # The precision is that of the graph.
    "trt_fp16_enable": "False",
    "trt_int8_enable": "False",
    # Files that nobody has hashed, in the working directory. `vpp-edge build` keeps engines by the hash of their stage.
    "trt_engine_cache_enable": "False",
    "trt_timing_cache_enable": "False",
}

_Request = str | tuple[str, dict[str, str]]
# The first must start; the others take the operators that it lacks.
_CHAINS: dict[str, list[_Request]] = {
    "cpu": [_CPU],
    "cuda": [(_CUDA, _CUDA_OPTIONS), _CPU],
    "tensorrt": [(_TENSORRT, _TENSORRT_OPTIONS), (_CUDA, _CUDA_OPTIONS), _CPU],
}
_NEEDS = {
    "cuda": "CUDA and cuDNN of the major versions that it was built for (12 and 9 for onnxruntime-gpu 1.24)",
    "tensorrt": "TensorRT, CUDA and cuDNN of the versions that it was built for",
}


def chain(provider: str | None) -> list[_Request]:
    """What InferenceSession takes as `providers`."""
    return _CHAINS[provider or "cpu"]


def check_available(provider: str | None) -> None:
    """Raises MissingDependencyError where the installed ONNX Runtime was built without the provider."""
    import onnxruntime

    name = _name(provider)
    if name not in onnxruntime.get_available_providers():
        raise MissingDependencyError(
            f"an ONNX Runtime with {name}", f"provider {provider}", swap_command(platform.machine())
        )


def check_started(provider: str | None, session: Any) -> None:
    """Raises BadInputError where a session runs without the provider that it was asked for."""
    if _name(provider) not in session.get_providers():
        raise not_started(provider, f"it would run on {', '.join(session.get_providers())}")


def not_started(provider: str | None, reason: str) -> BadInputError:
    """The error for a provider that is installed and does not work here."""
    return BadInputError(
        f"provider {provider}: {_name(provider)} is installed and does not start here: {reason.strip().rstrip('.')}. "
        f"It needs an NVIDIA GPU and {_NEEDS[str(provider)]}; `vpp-edge doctor` shows what is there. "
        "Try provider cpu, which also tells whether it is the bundle."
    )


def swap_command(machine: str) -> str:
    """How to get an ONNX Runtime with CUDA and TensorRT: it has the files of the plain one, so it takes its place.

    Args:
        machine: as `platform.machine()` says it. The package index has no 64-bit Arm wheel; NVIDIA's for Jetson has.
    """
    index = " --index-url https://pypi.jetson-ai-lab.io/jp6/cu126   (JetPack 6)" if machine == "aarch64" else ""
    return f"pip uninstall -y onnxruntime && pip install onnxruntime-gpu{index}"


def _name(provider: str | None) -> str:
    first = chain(provider)[0]
    return first if isinstance(first, str) else first[0]
