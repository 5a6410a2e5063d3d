"""Plays a FrameSource through the `software_device` of the RealSense SDK, as a camera without hardware.

Images go into the SDK and come back through its callback with number and timestamp, so that everything but the USB
driver of a RealSense camera is exercised.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp_edge.runtime.cameras.feeder import Feeder
from vpp_edge.runtime.cameras.inbox import InboxCamera
from vpp_edge.runtime.cameras.sdk import load_realsense
from vpp_edge.runtime.cameras.sdk_frames import SdkReceiver
from vpp_edge.runtime.cameras.sources import FrameSource

FOCAL_PIXELS_480 = 615  # of a D435's colour camera at 640 x 480, about (42 degrees high, datasheet of the D400 series)


class SoftwareCamera(InboxCamera):
    """A software device that plays a source in real time, from opening to closing. Context manager.

    Args:
        name: of the camera.
        source: what it shows; the camera closes it.

    Raises:
        MissingDependencyError: the SDK is not installed.
    """

    def __init__(self, name: str, source: FrameSource) -> None:
        super().__init__(name)
        self.device = SoftwareDevice(source.width, source.height, source.fps)
        self.device.start(SdkReceiver(load_realsense(), name, self._inbox, _own_time))
        self._feeder = Feeder(name, source, self.device.show, self._inbox)
        self._feeder.begin()

    def _release(self) -> None:
        self._feeder.stop()
        self.device.stop()


class SoftwareDevice:
    """The SDK's device with one sensor and one RGB8 colour stream.

    Attributes:
        handle: pyrealsense2's `software_device`.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._rs = rs = load_realsense()
        self._stride = 3 * width
        self.handle = rs.software_device()
        self.handle.register_info(rs.camera_info.name, "vpp-edge software camera")
        self._sensor = self.handle.add_sensor("RGB Camera")
        self._profile = self._sensor.add_video_stream(_colour_stream(rs, width, height, fps))
        self._streaming = False

    def start(self, callback: Any) -> None:
        """Passes every image shown from now on to `callback`, as a frame of the SDK."""
        self._sensor.open(self._profile)
        self._sensor.start(callback)
        self._streaming = True

    def show(self, image: np.ndarray, number: int, stamp_ns: int) -> None:
        """Shows an image, (height, width, 3) uint8 RGB, to the device; the SDK copies it."""
        frame = self._rs.software_video_frame()
        frame.pixels = np.ascontiguousarray(image)
        frame.stride, frame.bpp = self._stride, 3
        frame.timestamp, frame.domain = stamp_ns / 1e6, self._rs.timestamp_domain.system_time
        frame.frame_number = number
        frame.profile = self._profile.as_video_stream_profile()
        self._sensor.on_video_frame(frame)

    def stop(self) -> None:
        """Stops delivery; may be called twice."""
        if self._streaming:
            self._streaming = False
            self._sensor.stop()
            self._sensor.close()


def _own_time(device_ms: float, arrival_ns: int, number: int) -> int:
    """Our monotonic time, which passed through the SDK as float64 milliseconds; accurate to a microsecond."""
    return min(round(device_ms * 1e6), arrival_ns)


def _colour_stream(rs: Any, width: int, height: int, fps: float) -> Any:
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid = rs.stream.color, 0, 0
    stream.width, stream.height, stream.fps = width, height, max(1, round(fps))
    stream.fmt, stream.bpp = rs.format.rgb8, 3
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = width, height
    intrinsics.ppx, intrinsics.ppy = width / 2, height / 2
    intrinsics.fx = intrinsics.fy = FOCAL_PIXELS_480 * height / 480
    intrinsics.model, intrinsics.coeffs = rs.distortion.none, [0.0] * 5
    stream.intrinsics = intrinsics
    return stream
