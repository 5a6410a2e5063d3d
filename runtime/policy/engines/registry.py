"""Finds the backend that runs a bundle's stages: in, its name; out, an opened engine per stage.

Backends are entry points, so that one may live where the robot side must not import from (the eager PyTorch
baseline), or in another package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from vpp_edge.bundle.engine import Backend, Engine, EngineOptions, check_provider_belongs
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError

GROUP = "vpp_edge.backends"


def backend_names() -> list[str]:
    """Names of the backends that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def open_engines(bundle: Bundle, backend: str, options: EngineOptions) -> Mapping[str, Engine]:
    """Engines by stage name.

    Raises:
        BadInputError: the backend is unknown, or has no such execution provider.
        MissingDependencyError: its library is not installed.
        BundleError: a file of the bundle is not as its manifest states.
    """
    points = entry_points(group=GROUP, name=backend)
    if not points:
        raise BadInputError(f"unknown backend {backend!r}; installed: {', '.join(backend_names())}")
    check_provider_belongs(backend, options.provider)
    opened: Backend = next(iter(points)).load()
    return opened(bundle, options)
