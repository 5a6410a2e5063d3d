"""Backend `torch-cuda`: the stages of a bundle on an NVIDIA GPU, with weights from its checkpoint.

For workstations: it needs PyTorch, Triton and the checkpoint, which a robot does not have. It shows what our kernels
gain before any engine is built.
"""

from __future__ import annotations

import torch

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.export.torch_cuda.cuda_graph import CudaGraphStage, EagerStage
from vpp_edge.export.torch_cuda.fp16 import fp16_stages
from vpp_edge.export.torch_cuda.operations import kernel_operations
from vpp_edge.model.backend import eager_policy

MIN_CAPABILITY = (8, 0)  # asynchronous copies to shared memory, for which the tiles are chosen


def open_bundle(bundle: Bundle, options: EngineOptions) -> dict[str, EagerStage]:
    """The three stages of a bundle on the first GPU; see `vpp_edge.bundle.engine.Backend`.

    Raises:
        BadInputError: there is no suitable GPU, or the checkpoint was moved.
        MissingDependencyError: Triton is not installed.
    """
    device = usable_gpu()
    operations = kernel_operations()
    policy = eager_policy(bundle, options.checkpoint)
    stages = fp16_stages(policy, bundle.manifest.policy, operations)
    engines = {}
    for name, module in stages.modules.items():
        engine = EagerStage if name == "text" else CudaGraphStage
        engines[name] = engine(module.to(device), stages.signatures[name], device)
    return engines


def usable_gpu() -> torch.device:
    """The first GPU.

    Raises:
        BadInputError: PyTorch finds none, or it is too old.
    """
    needs = "backend torch-cuda needs an NVIDIA GPU"
    if torch.version.cuda is None:
        raise BadInputError(
            f"{needs} and PyTorch with CUDA; the installed {torch.__version__} was built without it. Install it with: "
            f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]} "
            "--index-url https://download.pytorch.org/whl/cu130"
        )
    if not torch.cuda.is_available():
        raise BadInputError(
            f"{needs}, but PyTorch {torch.__version__} finds none; `vpp-edge doctor` shows what is there"
        )
    capability = torch.cuda.get_device_capability(0)
    if capability < MIN_CAPABILITY:
        expected, got = ("{}.{}".format(*version) for version in (MIN_CAPABILITY, capability))
        raise BadInputError(
            f"{needs} with compute capability {expected} or later; {torch.cuda.get_device_name(0)} has {got}"
        )
    return torch.device("cuda", 0)
