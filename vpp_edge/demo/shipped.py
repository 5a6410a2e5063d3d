"""The demo policy as a wheel of `make wheel` carries it, ready to run: for machines that cannot export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vpp_edge
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.demo.policies import DEMO
from vpp_edge.errors import MissingDependencyError
from vpp_edge.installing import is_installed, pip_install

EXPORTED = Path(vpp_edge.__file__).with_name("demo_bundle")
"""The bundle in float32 and as trained. A checkout has none: it exports its policy on first use."""

_EXPORT_NEEDS = ("torch", "diffusers", "transformers", "safetensors", "onnx", "onnxscript")


def shipped_bundle(options: Mapping[str, Any], fresh: bool) -> Path | None:
    """The bundle that came with this package; None where it is to be exported.

    Args:
        options: fields of DemoOptions that were asked for.
        fresh: export in any case.

    Raises:
        BundleError: it is damaged.
        MissingDependencyError: nothing can be exported here, and the package has no bundle with these options.
    """
    missing = [name for name in _EXPORT_NEEDS if not is_installed(name)]
    if not missing:
        return None
    if fresh or set(options.items()) - {("precision", "fp32"), ("policy", DEMO)}:
        purpose = f"exporting the {options.get('policy', DEMO)} policy with these options"
    elif EXPORTED.is_dir():
        Bundle(EXPORTED).verify_all()
        return EXPORTED
    else:
        purpose = "exporting the demo policy, which a wheel of `make wheel` would have brought as a bundle,"
    raise MissingDependencyError(missing[0], purpose, pip_install("export"))
