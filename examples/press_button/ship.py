"""Prepares a trained checkpoint for the package: the same in float16 and without any pickle.

    python ship.py OUT/checkpoint vpp_edge/demo_policy

Other files in the folder (model card, calibration) are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_file import load_policy_file, save_policy_file
from vpp_edge.checkpoint.reader import read_checkpoint

PARTS = ("svd", "clip")
LARGEST_BYTES = 16_000_000


def ship(checkpoint: Path, folder: Path) -> int:
    """Writes svd/, clip/ and policy.safetensors into `folder`; returns the total size of the weights in bytes."""
    paths = paths_from_folder(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(checkpoint / part, folder / part)
    for config in (file for part in PARTS for file in (folder / part).rglob("config.json")):
        values = json.loads(config.read_text())
        values.pop("_name_or_path", None)  # a path on the machine that trained it
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    for weights in (file for part in PARTS for file in (folder / part).rglob("*.safetensors")):
        save_file(_halved(load_file(weights)), weights, metadata={"format": "pt"})
        weights.chmod(0o644)  # safetensors makes it private, but an installed package must be readable by all users
    policy = load_policy_file(paths.policy)
    own = {name: t for name, t in policy.tensors.items() if not name.startswith(names.TEXT_COPY_PREFIXES)}
    save_policy_file(folder / "policy.safetensors", _halved(own), policy.arguments)
    read_checkpoint(paths_from_folder(folder))
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def _halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    halved = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    overflown = [name for name, t in halved.items() if t.is_floating_point() and not t.isfinite().all()]
    if overflown:
        raise SystemExit(f"{overflown[0]} overflows float16; train with a lower learning rate")
    return halved


def main() -> None:
    parser = argparse.ArgumentParser(description="put a trained policy into the package")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    size = ship(arguments.checkpoint, arguments.folder)
    print(f"{arguments.folder}: {size / 1e6:.1f} MB of weights")
    if size > LARGEST_BYTES:
        raise SystemExit(f"more than {LARGEST_BYTES / 1e6:.0f} MB; use smaller networks")


if __name__ == "__main__":
    main()
