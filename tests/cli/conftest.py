"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from vpp_edge.errors import MissingDependencyError
from vpp_edge.runtime.cameras.sdk import load_realsense
from vpp_edge.runtime.sim.mujoco_import import import_mujoco


@pytest.fixture
def simulated_cameras() -> None:
    """They need the simulator, and the camera SDK for its software device."""
    try:
        load_realsense()
        import_mujoco()
    except MissingDependencyError as error:
        pytest.skip(str(error))
