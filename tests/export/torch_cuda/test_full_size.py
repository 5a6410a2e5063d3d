"""The kernel calls of a full-size inference: each can be launched, and the cases in `kernels/` count all of them.

Nothing is computed: all tensors are meta tensors, with the strides that convolutions have on a GPU.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vpp_edge.checkpoint.untrained import RELEASED_XHAND, configs_of, video_networks
from vpp_edge.export.stages import PerceiveStage
from vpp_edge.export.torch_cuda.fp16 import Fp16PerceiveStage
from vpp_edge.export.torch_cuda.fused import FusedPerceiveStage
from vpp_edge.kernels.catalogue import OPERATIONS, kernel_module, load_operation
from vpp_edge.kernels.operation import TensorFactory
from vpp_edge.model.former import VideoFormer
from vpp_edge.model.tvp import VideoPredictionModel

VIEWS = 2
NUMBERS = ("heads", "groups", "silu", "keep_positions")
_CONVOLUTIONS = (torch.conv2d, torch.nn.functional.conv2d, torch.nn.functional.conv_transpose2d)

Call = tuple[str, tuple[Any, ...]]


class ChannelsLast(TorchFunctionMode):
    """Makes convolutions return channels-last images, as cuDNN does for channels-last weights; meta tensors do not."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        return result.contiguous(memory_format=torch.channels_last) if function in _CONVOLUTIONS else result


def call_of(name: str, arguments: Mapping[str, Any]) -> Call:
    """An operation with the shapes of its inputs and the numbers that determine its work."""
    shapes = [(n, tuple(x.shape)) for n, x in arguments.items() if isinstance(x, Tensor)]
    return name, tuple(sorted([*shapes, *((n, arguments[n]) for n in NUMBERS if n in arguments)]))


def recorded(name: str, calls: Counter[Call]) -> Callable[..., Any]:
    """The operation without its computation: counts the call, checks the inputs and builds the launches."""
    module = kernel_module(name)
    parameters = inspect.signature(getattr(module, name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "out"}

    def call(**given: Any) -> Any:
        arguments = defaults | given
        out = module.outputs(**arguments)
        assert module.launches(out, **arguments)
        calls[call_of(name, arguments)] += 1
        return out

    return call


def full_size_stage(operations: Mapping[str, Callable[..., Any]]) -> Fp16PerceiveStage:
    from diffusers import EulerDiscreteScheduler

    former_config, _ = configs_of(RELEASED_XHAND)
    config: Any = SimpleNamespace(former=former_config, extract_layer=1, all_layers=False, video_steps=20)
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, sigma_max=700.0)
    with torch.device("meta"):
        unet, vae = video_networks(RELEASED_XHAND)
        former = VideoFormer(former_config).eval()
    video = VideoPredictionModel(unet.eval(), vae.eval(), scheduler, config).to("meta")
    for module in unet.modules():
        if hasattr(module, "mix_factor"):  # its value is needed when weights are folded
            module.mix_factor = nn.Parameter(torch.tensor([0.3]))
    policy: Any = SimpleNamespace(video=video, former=former, frame_stride=1)
    with torch.device("meta"):
        return Fp16PerceiveStage(FusedPerceiveStage(PerceiveStage(policy), operations)).eval()


@torch.no_grad()
def test_the_cases_are_the_calls_of_an_inference() -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install -e '.[kernels]'")
    expected: Counter[Call] = Counter()
    for name in OPERATIONS:
        for case in load_operation(name).cases:
            # The VAE stays in float32 here; its norms only use our kernels in an engine.
            if case.precision == "fp16" and case.calls and not case.name.startswith("vae-"):
                arguments = load_operation(name).inputs(case.sizes, TensorFactory("meta"))
                expected[call_of(name, arguments)] += case.calls
    found: Counter[Call] = Counter()
    stage = full_size_stage({name: recorded(name, found) for name in OPERATIONS})
    s = RELEASED_XHAND
    with torch.device("meta"), ChannelsLast():
        stage.cache_text(torch.empty(1, 20, 2 * s.text_width))
        frames = torch.empty(VIEWS, s.image, s.image, 3, dtype=torch.uint8)
        tokens = stage(frames, torch.empty(VIEWS, s.frames, 4, s.image // 8, s.image // 8))
    assert tokens.shape == (1, s.frames * s.queries, s.width)
    assert found == expected, f"too many: {found - expected}; missing: {expected - found}"
