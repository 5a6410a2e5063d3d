"""vpp-edge: a trained Video Prediction Policy, carried from its checkpoint onto a robot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

__version__ = "0.1.0"
__all__ = ["EdgePolicy", "__version__"]


def __getattr__(name: str) -> Any:
    """`from vpp_edge import EdgePolicy` without paying for numpy and an engine library in `vpp-edge --help`."""
    if name == "EdgePolicy":
        from vpp_edge.runtime.policy.edge_policy import EdgePolicy

        return EdgePolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
