"""Assigns the cameras that the user listed to the views of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.interfaces import CameraSource
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.suggestion import did_you_mean
from vpp_edge.wording import counted

Given = TypeVar("Given", bound=CameraSource)


def cameras_by_view(spec: PolicySpec, cameras: Sequence[Given]) -> tuple[Given, ...]:
    """One camera for each view of the policy, in the order of its batch.

    A policy whose wrist and static cameras are swapped still moves the hand, but wrongly. Serial numbers do not tell
    them apart, so several real cameras must be assigned to views by name: `static=realsense:123`.

    Raises:
        BadInputError: too few or too many cameras; an unknown view, or one given twice; some cameras with a view and
            others without; several real cameras without views; one real camera for two views.
    """
    views = [camera.name for camera in spec.cameras]
    if len(cameras) != len(views):
        raise BadInputError(
            f"got {counted(len(cameras), 'camera')}, but this policy has {counted(len(views), 'view')}: "
            f"{', '.join(views)}; give --camera once for each, in this order or as VIEW=KIND:SOURCE"
        )
    real = [camera.name for camera in cameras if camera.name.partition(":")[0] == "realsense"]
    if len(set(real)) < len(real):
        twice = next(name for name in real if real.count(name) > 1)
        raise BadInputError(f"camera {twice} is given for two views; give each view its own, by serial number")
    named = [camera for camera in cameras if camera.view]
    if not named:
        if len(real) > 1:
            example = " ".join(f"--camera {view}={camera.name}" for view, camera in zip(views, cameras, strict=True))
            raise BadInputError(
                f"{len(real)} RealSense cameras, and nothing tells which is which; name the view of each, "
                f"for example: {example}"
            )
        return tuple(cameras)
    by_view = {camera.view: camera for camera in named}
    if sorted(by_view) != sorted(views):
        given = ", ".join(f"{camera.view or 'no view'} ({camera.name})" for camera in cameras)
        unknown = next((view for view in by_view if view and view not in views), "")
        hint = did_you_mean(unknown, set(views) - set(by_view)) if unknown else ""
        raise BadInputError(f"cameras for {given}{hint}; expected one for each of: {', '.join(views)}")
    return tuple(by_view[view] for view in views)
