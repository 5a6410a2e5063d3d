"""A process in which the stages of `torch-cuda` run on interpreted kernels: in, a checkpoint; out, JSON of its errors.

The policy is an untrained one with one camera and two frames: the interpreter runs a program after the other. Every
kernel is called by the very modules that run on a GPU, with the strides that these give it.
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
        folder: where the untrained checkpoint is written.
    """
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the interpreter ended with {done.returncode}:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main(folder: Path) -> None:
    from dataclasses import replace

    import torch

    from vpp_edge.bundle.comparison import compare
    from vpp_edge.checkpoint.files import paths_from_folder
    from vpp_edge.checkpoint.reader import Choices, read_checkpoint
    from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
    from vpp_edge.export.torch_cuda.fp16 import halved_stages
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
    modules = halved_stages(policy, spec, operations).modules
    unguided = torch.zeros_like(action_noise), torch.zeros(1, spec.action.horizon)
    with torch.no_grad():
        modules["perceive"].remember(text)
        tokens = modules["perceive"](frames, noise)
        actions = modules["act"](expected_tokens, goal, proprio, action_noise, *unguided)
    found = {"tokens": (tokens, expected_tokens), "actions": (actions, expected_actions)}
    errors = {n: compare(a.numpy(), b.numpy()).max_relative for n, (a, b) in found.items()}
    print(json.dumps({"max_relative": errors, "calls": calls}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
