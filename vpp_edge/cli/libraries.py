"""The libraries that commands need: which extra installs each, and what it is for. Imports none of them."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass

from vpp_edge.installing import CUDA_EXTRA, pip_install


@dataclass(frozen=True)
class Library:
    """One library that some command needs.

    Attributes:
        distribution: its name on the package index.
        extra: the extra of vpp-edge that installs it; "" for the base, None if no extra does.
        needed_for: the commands or options that need it.
        install: how to install it if no extra does.
    """

    distribution: str
    extra: str | None
    needed_for: str
    install: str = ""


LIBRARIES = {
    "numpy": Library("numpy", "", "every command"),
    "onnxruntime": Library("onnxruntime", "", "run, profile, verify on the CPU"),
    "shtab": Library("shtab", "", "completion"),
    "tokenizers": Library("tokenizers", "", "run: instructions"),
    "pyrealsense2": Library("pyrealsense2", "realsense", "run --camera realsense, software, bag"),
    "libusb_package": Library("libusb-package", "realsense", "run --camera realsense, software, bag"),
    "mujoco": Library("mujoco", "sim", "demo, run --hand sim"),
    "av": Library("av", "video", "demo, run --camera video, software; videos of a recording"),
    "mcap": Library("mcap", "log", "run --log"),
    "rerun": Library("rerun-sdk", "rerun", "run --rerun"),
    "ray": Library("ray", "ray", "eval, distill --ray"),
    "dynamixel_sdk": Library("dynamixel-sdk", "leap", "run --hand leap"),
    "pymodbus": Library("pymodbus", "inspire", "run --hand inspire"),
    "torch": Library(
        "torch", "export", "export, verify against a checkpoint, profile --compare torch; demo in a checkout"
    ),
    "diffusers": Library("diffusers", "export", "export; demo in a checkout"),
    "transformers": Library("transformers", "export", "export; demo in a checkout"),
    "safetensors": Library("safetensors", "export", "export; demo in a checkout"),
    "omegaconf": Library("omegaconf", "export", "export; demo in a checkout"),
    "onnx": Library("onnx", "export", "export; demo in a checkout"),
    "onnxscript": Library("onnxscript", "export", "export; demo in a checkout"),
    "yaml": Library("pyyaml", "export", "distill --student"),
    "accelerate": Library("accelerate", "distill", "distill on GPUs or many processes, in mixed precision, with a log"),
    "tensorboard": Library("tensorboard", "distill", "distill --log-with tensorboard"),
    "cuda.bindings": Library(
        "cuda-bindings", CUDA_EXTRA, "build for the GPU of this machine, run --backend tensorrt, tensorrt-rtx"
    ),
    "triton": Library("triton", "kernels", "kernels; profile, eval --backend torch-cuda"),
    "pycuda": Library("pycuda", None, "our GPU kernels on a Jetson", "{pip} install pycuda==2026.1"),
    "tensorrt": Library("tensorrt", None, "build, run --backend tensorrt", "sudo apt-get install python3-libnvinfer"),
    "tensorrt_rtx_bindings": Library(
        "tensorrt-rtx-cu13-bindings", "tensorrt-rtx", "build, run --backend tensorrt-rtx; building needs no GPU"
    ),
}


def install_command(module: str) -> str:
    """The command that installs a library of LIBRARIES into the environment of this process."""
    library = LIBRARIES[module]
    if library.extra is None:
        return library.install.replace("{pip}", f"{shlex.quote(sys.executable)} -m pip")
    return pip_install(*filter(None, [library.extra]))
