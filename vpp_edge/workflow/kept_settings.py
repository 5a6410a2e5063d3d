"""The settings of work that can be interrupted: in, those of this run; they must be those that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.writing import write_whole

SETTINGS = "settings.json"


def keep_settings(folder: Path, settings: Mapping[str, Any], work: str) -> None:
    """Writes the settings into the folder of the work, or compares them with those that are there.

    Args:
        settings: plain values by name. work: what it is, e.g. `distillation`.

    Raises:
        BadInputError: the work was begun with other settings.
    """
    path = folder / SETTINGS
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1))
        return
    before = read_json_file(path, f"the settings of an unfinished {work}")
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        words = ", ".join(f"{_option(name)} was {before.get(name)}, is {settings[name]}" for name in changed)
        raise BadInputError(f"{folder}: begun with other settings ({words}); repeat those, or remove the folder")


def _option(setting: str) -> str:
    """What a setting is called on the command line."""
    other = {"dataset": "--data", "held_out": "--held-out-samples", "training.head_steps": "--head-training-steps"}
    if setting in ("teacher_sha256", "shard"):
        return setting
    return other.get(setting, f"--{setting.removeprefix('training.').replace('_', '-')}")
