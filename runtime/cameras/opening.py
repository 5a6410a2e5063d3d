"""Opens the camera that a CameraConfig describes. Loads the RealSense SDK, PyAV or the simulator only where needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpp_edge.runtime.interfaces import Camera, LatestState

if TYPE_CHECKING:
    from vpp_edge.runtime.cameras.config import CameraConfig
    from vpp_edge.runtime.cameras.sources import FrameSource


def open_camera(config: CameraConfig, latest_state: LatestState | None = None) -> Camera:
    """Opens a camera and starts delivery. Close it, or use it as a context manager.

    Args:
        latest_state: for views of the simulator, returns the newest state of the hand or None.

    Raises:
        BadInputError: the camera, file or mode does not exist.
        MissingDependencyError: a library for this kind of camera is not installed.
    """
    if config.kind == "bag":
        from vpp_edge.runtime.cameras.bag import BagCamera

        return BagCamera(config.source, config.loop)
    config = config.completed()
    if config.kind == "realsense":
        from vpp_edge.runtime.cameras.realsense import RealSenseCamera

        return RealSenseCamera(config.source, config.width or 0, config.height or 0, int(config.fps or 0))
    source = _source(config, latest_state)
    if config.kind == "video":
        from vpp_edge.runtime.cameras.video import VideoCamera

        return VideoCamera(config.name, source)
    from vpp_edge.runtime.cameras.software import SoftwareCamera

    return SoftwareCamera(config.name, source)


def _source(config: CameraConfig, latest_state: LatestState | None) -> FrameSource:
    from vpp_edge.runtime.cameras.sources import SimSource, VideoSource

    if config.sim_view is not None:
        return SimSource(
            config.sim_view,
            latest_state,
            width=config.width or 0,
            height=config.height or 0,
            fps=config.fps or 0,
        )
    size = None if config.width is None or config.height is None else (config.width, config.height)
    return VideoSource(config.source, config.loop, config.fps, size)
