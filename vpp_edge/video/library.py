"""PyAV, which reads and writes videos with FFmpeg; imported here only, and not before it is needed."""

from __future__ import annotations

from types import ModuleType

from vpp_edge.errors import MissingDependencyError
from vpp_edge.installing import pip_install


def load_av() -> ModuleType:
    """PyAV. Raises MissingDependencyError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("PyAV", "reading and writing videos", pip_install("video")) from error
    return av
