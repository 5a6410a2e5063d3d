"""Backend `torch-cuda`: in, a bundle and the checkpoint that it was exported from; out, its stages on an NVIDIA GPU.

For a workstation: it needs PyTorch, Triton and the checkpoint, which a robot has not. There it shows what our kernels
are worth before any engine is built.
"""

from __future__ import annotations

import torch

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.export.torch_cuda.cuda_graph import CapturedStage, EagerStage
from vpp_edge.export.torch_cuda.fp16 import halved_stages
from vpp_edge.export.torch_cuda.operations import kernel_operations
from vpp_edge.model.backend import eager_policy

LEAST_CAPABILITY = (8, 0)  # asynchronous copies to shared memory, which the kernels' tiles are made for


def open_bundle(bundle: Bundle, options: EngineOptions) -> dict[str, EagerStage]:
    """The three stages of a bundle on the first GPU; see `vpp_edge.bundle.engine.Backend`.

    Raises:
        BadInputError: there is no such GPU, or the checkpoint is not where it was.
        MissingDependencyError: Triton is not installed.
    """
    device = usable_gpu()
    operations = kernel_operations()
    policy = eager_policy(bundle, options.checkpoint)
    stages = halved_stages(policy, bundle.manifest.policy, operations)
    engines = {}
    for name, module in stages.modules.items():
        kind = EagerStage if name == "text" else CapturedStage
        engines[name] = kind(module.to(device), stages.signatures[name], device)
    return engines


def usable_gpu() -> torch.device:
    """The first GPU.

    Raises:
        BadInputError: PyTorch cannot use one, or it is too old.
    """
    needs = "backend torch-cuda needs an NVIDIA GPU"
    if torch.version.cuda is None:
        raise BadInputError(
            f"{needs} and a PyTorch for it; the installed {torch.__version__} is built without CUDA. Install one: "
            f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]} "
            "--index-url https://download.pytorch.org/whl/cu130"
        )
    if not torch.cuda.is_available():
        raise BadInputError(
            f"{needs}, and PyTorch {torch.__version__} finds none; `vpp-edge doctor` shows what is there"
        )
    found = torch.cuda.get_device_capability(0)
    if found < LEAST_CAPABILITY:
        names = ["{}.{}".format(*version) for version in (LEAST_CAPABILITY, found)]
        raise BadInputError(
            f"{needs} of compute capability {names[0]} or later; {torch.cuda.get_device_name(0)} has {names[1]}"
        )
    return torch.device("cuda", 0)
