"""The policy: from camera frames and the hand's state to chunks of targets. Importing this loads no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

__all__ = ["EdgePolicy"]


def __getattr__(name: str) -> Any:
    if name == "EdgePolicy":
        from vpp_edge.runtime.policy.edge_policy import EdgePolicy

        return EdgePolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
