"""A RealSense recording as a camera: in, a .bag or .db3 file; out, the frames of its colour stream in recorded time."""

from __future__ import annotations

from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.device_clock import DeviceClock
from vpp_edge.runtime.cameras.inbox import InboxCamera
from vpp_edge.runtime.cameras.sdk import load_realsense
from vpp_edge.runtime.cameras.sdk_frames import SdkReceiver


class BagCamera(InboxCamera):
    """The colour stream of a recording, RGB8 or BGR8. Context manager.

    Numbers are the recording's; from one round to the next they go on rising.

    Args:
        path: the file, of RealSense's recorder: .db3, which the SDK's version 2.59 writes, or .bag of earlier ones,
            which it still reads but calls deprecated.
        loop: begin again at the end.

    Raises:
        BadInputError: the SDK cannot play the file, or there is no colour stream in it.
        MissingDependencyError: the SDK is not installed.
    """

    def __init__(self, path: str, loop: bool = True) -> None:
        rs = load_realsense()
        super().__init__(f"bag:{path}")
        self._pipeline, config = rs.pipeline(), rs.config()
        receiver = SdkReceiver(rs, self.name, self._inbox, DeviceClock().stamp_ns, renumber=RisingNumbers())
        try:
            config.enable_device_from_file(path, loop)
            config.enable_stream(rs.stream.color)
            profile = self._pipeline.start(config, receiver)
        except RuntimeError as error:
            raise BadInputError(
                f"camera {self.name}: cannot be played: {error}; give a recording of a RealSense colour stream"
            ) from error
        self._open = True
        self._playback = profile.get_device().as_playback()
        self._stopped = rs.playback_status.stopped
        if not loop:
            self._playback.set_status_changed_callback(self._note_status)

    def _note_status(self, status: Any) -> None:
        if status == self._stopped:
            self._inbox.end_of_stream()

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._pipeline.stop()


class RisingNumbers:
    """Numbers of a recording that is played again and again: where they go back, they go on from the last one."""

    def __init__(self) -> None:
        self._last, self._shift = -1, 0

    def __call__(self, number: int) -> int:
        if number + self._shift < self._last:
            self._shift = self._last + 1 - number
        self._last = number + self._shift
        return self._last
