"""Looks up a backend by name and opens the engines of a bundle's stages.

Backends are entry points, so that a backend may be in a folder that the robot side must not import (the eager PyTorch
baseline), or in another package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from vpp_edge.bundle.engine import Backend, Engine, EngineOptions, check_provider_belongs
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.suggestion import check_text, did_you_mean

GROUP = "vpp_edge.backends"


def backend_names() -> list[str]:
    """Names of the installed backends."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def check_backend(backend: str) -> None:
    """Raises BadInputError for a backend that is not installed."""
    check_text("backend", backend)
    names = backend_names()
    if backend not in names:
        hint = did_you_mean(backend, names)
        raise BadInputError(f"unknown backend {backend!r}{hint}; installed: {', '.join(names)}")


def open_engines(bundle: Bundle, backend: str, options: EngineOptions) -> Mapping[str, Engine]:
    """Engines by stage name.

    Raises:
        BadInputError: the backend is unknown, or does not have the execution provider.
        MissingDependencyError: its library is not installed.
        BundleError: a file of the bundle is not as its manifest states.
    """
    check_backend(backend)
    check_provider_belongs(backend, options.provider)
    open_backend: Backend = next(iter(entry_points(group=GROUP, name=backend))).load()
    return open_backend(bundle, options)
