"""ONNX Runtime's execution providers: their options, and checks that the requested one is used.

ONNX Runtime falls back to the CPU if a provider is not installed or does not start. Here both are errors.

UNTESTED ON A GPU: only the errors without a GPU were seen.
"""

from __future__ import annotations

import platform
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html. Not set: enable_cuda_graph, which needs
# inputs and outputs at fixed GPU addresses, while our engines take arrays; backend `tensorrt` has both.
_CUDA_OPTIONS = {
    # Shapes are fixed, so each convolution is tuned once, at the first inference, with unlimited workspace.
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    # The default doubles allocations, and a Jetson's GPU shares its memory with everything else.
    "arena_extend_strategy": "kSameAsRequested",
    # A float32 bundle was not verified with 10-bit mantissas.
    "use_tf32": "0",
}
# https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html. It has no option for strongly typed
# networks, nor to turn TF32 off (NVIDIA_TF32_OVERRIDE=0 in the environment does): verify a bundle before it runs on it.
_TENSORRT_OPTIONS = {
    # The precision is that of the graph.
    "trt_fp16_enable": "False",
    "trt_int8_enable": "False",
    # Unhashed files in the working directory. `vpp-edge build` stores engines by the hash of their stage instead.
    "trt_engine_cache_enable": "False",
    "trt_timing_cache_enable": "False",
}

_Request = str | tuple[str, dict[str, str]]
# The first one must start; the others run the operators that it does not support.
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
    """The argument `providers` of InferenceSession."""
    return _CHAINS[provider or "cpu"]


def check_available(provider: str | None) -> None:
    """Raises MissingDependencyError if the installed ONNX Runtime was built without the provider."""
    import onnxruntime

    name = _name(provider)
    if name not in onnxruntime.get_available_providers():
        raise MissingDependencyError(
            f"an ONNX Runtime with {name}", f"provider {provider}", swap_command(platform.machine())
        )


def check_started(provider: str | None, session: Any) -> None:
    """Raises BadInputError if a session does not use the requested provider."""
    if _name(provider) not in session.get_providers():
        raise not_started(provider, f"it would run on {', '.join(session.get_providers())}")


def not_started(provider: str | None, reason: str) -> BadInputError:
    """The error for a provider that is installed but does not start here."""
    return BadInputError(
        f"provider {provider}: {_name(provider)} is installed but does not start here: {reason.strip().rstrip('.')}. "
        f"It needs an NVIDIA GPU and {_NEEDS[str(provider)]}; `vpp-edge doctor` shows what is there. "
        "Try provider cpu, which also shows whether the bundle is the cause."
    )


def swap_command(machine: str) -> str:
    """The command that installs an ONNX Runtime with CUDA and TensorRT in place of the plain one (same file names).

    Args:
        machine: `platform.machine()`. PyPI has no 64-bit Arm wheel; NVIDIA's index for Jetson has one.
    """
    index = " --index-url https://pypi.jetson-ai-lab.io/jp6/cu126   (JetPack 6)" if machine == "aarch64" else ""
    return f"pip uninstall -y onnxruntime && pip install onnxruntime-gpu{index}"


def _name(provider: str | None) -> str:
    first = chain(provider)[0]
    return first if isinstance(first, str) else first[0]
