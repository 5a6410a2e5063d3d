"""A child process that runs the stages of `torch-cuda` on interpreted kernels and prints their errors as JSON.

The policy is untrained, with one camera and two frames, because the interpreter runs programs one after another. The
kernels are called by the same modules as on a GPU, with the same strides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from small_policy import SMALL


def errors_of_interpreted_stages(folder: Path) -> dict[str, Any]:
    """Errors of tokens and actions against the eager float32 policy, and how often each kernel was called.

    Args:
        folder: where to write the untrained checkpoint.
    """
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    child = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    if child.returncode:
        raise RuntimeError(f"the interpreter exited with status {child.returncode}:\n{child.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def main(folder: Path) -> None:
    from dataclasses import replace

    import torch

    from vpp_edge.bundle.comparison import compare
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.checkpoint.reader import Choices, read_checkpoint
    from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
    from vpp_edge.export.torch_cuda.fp16 import fp16_stages
    from vpp_edge.export.torch_cuda.operations import kernel_operations
    from vpp_edge.model.policy import policy_from_checkpoint

    write_untrained_checkpoint(folder, replace(SMALL, frames=2))
    checkpoint = read_checkpoint(paths_from_folder(folder), Choices(cameras=1))
    policy, spec = policy_from_checkpoint(checkpoint), checkpoint.spec
    torch.manual_seed(0)
    frames = torch.randint(0, 256, spec.frames_shape, dtype=torch.uint8)
    text = torch.randn(1, spec.text_lengths[0], 2 * policy.text.encoder.config.hidden_size)
    goal = torch.randn(1, policy.text.encoder.config.projection_dim)
    noise, action_noise = torch.randn(spec.video_noise_shape), torch.randn(1, *spec.chunk_shape)
    proprio = torch.rand(1, 1, spec.state.dims) * 2 - 1
    expected_tokens = policy.perceive(frames, text, noise)
    expected_actions = policy.act(expected_tokens, goal, proprio, action_noise)

    calls = dict.fromkeys(kernel_operations(), 0)

    def counted(name: str, kernel: Any) -> Any:
        def called(**arguments: Any) -> Any:
            calls[name] += 1
            return kernel(**arguments)

        return called

    operations = {name: counted(name, kernel) for name, kernel in kernel_operations().items()}
    modules = fp16_stages(policy, spec, operations).modules
    no_prefix = torch.zeros_like(action_noise), torch.zeros(1, spec.action.horizon)
    with torch.no_grad():
        modules["perceive"].cache_text(text)
        tokens = modules["perceive"](frames, noise)
        actions = modules["act"](expected_tokens, goal, proprio, action_noise, *no_prefix)
    pairs = {"tokens": (tokens, expected_tokens), "actions": (actions, expected_actions)}
    errors = {n: compare(a.numpy(), b.numpy()).max_relative for n, (a, b) in pairs.items()}
    print(json.dumps({"max_relative": errors, "calls": calls}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
