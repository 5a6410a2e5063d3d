"""What is installed here, and the command that installs an extra of this package, as it is typed on this machine.

No package index has vpp-edge, so its name alone installs nothing: an extra is added from where this copy came from. The
only place that says how.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import vpp_edge

# A Jetson has another CUDA than a workstation, so the extras pin different versions.
CUDA_EXTRA = "jetson" if os.uname().machine == "aarch64" else "cuda"


def pip_install(*extras: str) -> str:
    """The command that installs extras into the environment of this process; without extras, the package itself."""
    return f"{shlex.quote(sys.executable)} -m pip install {_package_with(extras)}"


def is_installed(module: str) -> bool:
    """Whether `module` can be found; does not import it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def installed_version(distribution: str) -> str | None:
    """The version of a distribution of the package index, without importing it; None if it has no metadata."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_with(extras: Sequence[str]) -> str:
    """The argument of `pip install` that stands for this package with extras."""
    suffix, origin = f"[{','.join(extras)}]" if extras else "", _origin()
    checkout = Path(vpp_edge.__file__).parents[1]
    if (checkout / "pyproject.toml").is_file():
        return f"-e {shlex.quote(f'{checkout}{suffix}')}"
    url = str(origin.get("url", ""))
    if (vcs := origin.get("vcs_info")) is not None:
        return shlex.quote(f"vpp-edge{suffix} @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if not url.startswith("file:"):  # a wheel on a server, or an index that had it by its name
        return shlex.quote(f"vpp-edge{suffix} @ {url}" if url else f"vpp-edge{suffix}")
    path = unquote(urlsplit(url).path)
    if os.path.exists(path):
        return shlex.quote(f"{path}{suffix}")
    kind = "folder" if "dir_info" in origin else "file"
    return f"{shlex.quote(f'{path}{suffix}')}   (that {kind} is gone: copy it there again, or name where it is now)"


def _origin() -> dict[str, Any]:
    """What pip wrote down about the installation (PEP 610); {} where it wrote nothing."""
    try:
        data = json.loads(importlib.metadata.distribution("vpp-edge").read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
