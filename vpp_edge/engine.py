"""What a backend is: the contract between a bundle's stages and the library that runs them.

Backends register under the entry-point group `vpp_edge.backends`; `runtime/engines/registry.py` finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vpp_edge.manifest import Bundle


@dataclass(frozen=True)
class EngineOptions:
    """How to run.

    Attributes:
        threads: CPU threads per stage; None lets the backend choose.
        checkpoint: folder of the trained policy, for the `torch` backend only; None: where it was exported from.
    """

    threads: int | None = None
    checkpoint: str | None = None


class Engine(Protocol):
    """One stage, ready to run."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; inputs have the names, shapes and dtypes of the stage's record."""


class Backend(Protocol):
    """Opens the stages of a bundle.

    Raises:
        MissingDependencyError: the backend's library is not installed.
        BundleError: a file of the bundle is not as its manifest states.
    """

    def __call__(self, bundle: Bundle, options: EngineOptions) -> Mapping[str, Engine]: ...
