"""The command with which the author of a policy.pt saves it again as tensors and plain values only."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

# Runs where the policy was trained: it needs torch and OmegaConf, not this package.
_SCRIPT = """
import json, torch
from omegaconf import OmegaConf
def plain(value):
    if OmegaConf.is_config(value): return OmegaConf.to_container(value)
    return value.tolist() if hasattr(value, "tolist") else getattr(value, "__dict__", None) or str(value)
content = torch.load({source}, map_location="cpu", weights_only=False)
model, args = content["model"], content["args"]
model = model.state_dict() if hasattr(model, "state_dict") else model
args = json.loads(json.dumps(args, default=plain))
torch.save({{"model": model, "args": args}}, {target})
"""


def resave_script(source: Path) -> str:
    """The Python code; it writes `<name>.plain.pt` beside the file."""
    return _SCRIPT.format(source=json.dumps(str(source)), target=json.dumps(str(source.with_suffix(".plain.pt"))))


def resave_advice(source: Path) -> str:
    """Two sentences and a command, for the error about a pickle that is refused."""
    return (
        "If you trained it, save it again without other objects, where it was trained. The command below runs whatever "
        "is in the file: never use it on the file of a stranger, but send it to its author.\n"
        f"python -c {shlex.quote(resave_script(source))}"
    )
