"""What a full-size inference asks of the kernels: every call is launchable, and the cases of `kernels/` count them all.

Nothing is computed: tensors have no memory, and strides are those that a GPU's convolutions give.
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
from vpp_edge.export.torch_cuda.fp16 import HalvedPerceive
from vpp_edge.export.torch_cuda.fused import JoinedPerceive
from vpp_edge.kernels.catalogue import OPERATIONS, host_side, operation
from vpp_edge.kernels.operation import TensorFactory
from vpp_edge.model.former import VideoFormer
from vpp_edge.model.tvp import VideoPredictionModel

VIEWS = 2
NUMBERS = ("heads", "groups", "silu", "keep_positions")
_CONVOLUTIONS = (torch.conv2d, torch.nn.functional.conv2d, torch.nn.functional.conv_transpose2d)

Call = tuple[str, tuple[Any, ...]]


class ChannelsLast(TorchFunctionMode):
    """cuDNN answers channels-last weights with channels-last images; tensors without memory would not."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        return result.contiguous(memory_format=torch.channels_last) if function in _CONVOLUTIONS else result


def call_of(name: str, arguments: Mapping[str, Any]) -> Call:
    """An operation with the shapes of its inputs, and what else decides its work."""
    shapes = [(n, tuple(x.shape)) for n, x in arguments.items() if isinstance(x, Tensor)]
    return name, tuple(sorted([*shapes, *((n, arguments[n]) for n in NUMBERS if n in arguments)]))


def recorded(name: str, calls: Counter[Call]) -> Callable[..., Any]:
    """The operation without its work: its checks and its list of launches."""
    host = host_side(name)
    parameters = inspect.signature(getattr(host, name)).parameters.values()
    left_out = {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "out"}

    def called(**given: Any) -> Any:
        arguments = left_out | given
        out = host.outputs(**arguments)
        assert host.launches(out, **arguments)
        calls[call_of(name, arguments)] += 1
        return out

    return called


def full_size_stage(operations: Mapping[str, Callable[..., Any]]) -> HalvedPerceive:
    from diffusers import EulerDiscreteScheduler

    former_config, _ = configs_of(RELEASED_XHAND)
    config: Any = SimpleNamespace(former=former_config, extract_layer=1, all_layers=False, video_steps=20)
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, sigma_max=700.0)
    with torch.device("meta"):
        unet, vae = video_networks(RELEASED_XHAND)
        former = VideoFormer(former_config).eval()
    video = VideoPredictionModel(unet.eval(), vae.eval(), scheduler, config).to("meta")
    for module in unet.modules():
        if hasattr(module, "mix_factor"):  # read while weights are folded
            module.mix_factor = nn.Parameter(torch.tensor([0.3]))
    policy: Any = SimpleNamespace(video=video, former=former, frame_stride=1)
    with torch.device("meta"):
        return HalvedPerceive(JoinedPerceive(PerceiveStage(policy), operations)).eval()


@torch.no_grad()
def test_the_cases_are_the_calls_of_an_inference() -> None:
    pytest.importorskip("triton", reason="Triton is not installed: pip install 'vpp-edge[kernels]'")
    expected: Counter[Call] = Counter()
    for name in OPERATIONS:
        for case in operation(name).cases:
            # The VAE's norms are kernels of an engine; here the VAE stays in float32.
            if case.precision == "fp16" and case.calls and not case.name.startswith("vae-"):
                arguments = operation(name).inputs(case.sizes, TensorFactory("meta"))
                expected[call_of(name, arguments)] += case.calls
    found: Counter[Call] = Counter()
    stage = full_size_stage({name: recorded(name, found) for name in OPERATIONS})
    s = RELEASED_XHAND
    with torch.device("meta"), ChannelsLast():
        stage.remember(torch.empty(1, 20, 2 * s.text_width))
        frames = torch.empty(VIEWS, s.image, s.image, 3, dtype=torch.uint8)
        tokens = stage(frames, torch.empty(VIEWS, s.frames, 4, s.image // 8, s.image // 8))
    assert tokens.shape == (1, s.frames * s.queries, s.width)
    assert found == expected, f"too many: {found - expected}; missing: {expected - found}"
