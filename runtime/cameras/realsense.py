"""The colour stream of a RealSense camera."""

from __future__ import annotations

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.device_clock import DeviceClock
from vpp_edge.runtime.cameras.inbox import InboxCamera
from vpp_edge.runtime.cameras.sdk import attached_cameras, load_realsense
from vpp_edge.runtime.cameras.sdk_frames import SdkReceiver


class RealSenseCamera(InboxCamera):
    """The RGB8 colour stream of one camera. Context manager. A silent camera is reopened by a new process.

    Args:
        serial: serial number; empty for the only camera attached.
        width, height, fps: a mode that the camera supports.

    Attributes:
        noisy: no two images are equal, so an equal image is a frozen one.

    Raises:
        BadInputError: the camera is not attached, several are attached and none is named, or the mode is not supported.
        MissingDependencyError: the SDK is not installed.
    """

    noisy = True

    def __init__(self, serial: str = "", width: int = 640, height: int = 480, fps: int = 30) -> None:
        rs = load_realsense()
        # Looked up first: the SDK waits 15 s for a missing camera and then does not say which one is missing.
        self.serial = serial_to_open(serial, attached_cameras())
        super().__init__(f"realsense:{self.serial}")
        self._pipeline = rs.pipeline()
        config = rs.config()
        config.enable_device(self.serial)
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        try:
            self._pipeline.start(config, SdkReceiver(rs, self.name, self._inbox, DeviceClock().stamp_ns))
        except RuntimeError as error:
            raise BadInputError(
                f"camera {self.name}: does not start with {width} x {height} rgb8 at {fps} fps: {error}; choose a mode "
                "that rs-enumerate-devices lists, and end other programs that use the camera"
            ) from error
        self._open = True

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._pipeline.stop()


def serial_to_open(wanted: str, attached: dict[str, str]) -> str:
    """Selects the serial number among the attached ones (serial number to product name). Raises BadInputError."""
    listing = ", ".join(f"{serial} ({name})" for serial, name in attached.items()) or "none"
    if wanted in attached:
        return wanted
    if wanted:
        raise BadInputError(
            f"camera realsense:{wanted}: not attached; attached: {listing}; check its cable and USB port, "
            "or name another"
        )
    if len(attached) != 1:
        problem = "several cameras are attached" if attached else "no camera is attached"
        advice = "name one with realsense:SERIAL" if attached else "plug one in, or try `vpp-edge doctor`"
        raise BadInputError(f"camera realsense: {problem}: {listing}; {advice}")
    return next(iter(attached))
