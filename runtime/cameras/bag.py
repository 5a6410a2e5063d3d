"""Plays the colour stream of a RealSense recording (.bag or .db3) at its recorded pace, as a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.runtime.cameras.device_clock import DeviceClock
from vpp_edge.runtime.cameras.inbox import InboxCamera
from vpp_edge.runtime.cameras.sdk import load_realsense
from vpp_edge.runtime.cameras.sdk_frames import SdkReceiver


class BagCamera(InboxCamera):
    """The colour stream of a recording, RGB8 or BGR8. Context manager.

    Frame numbers are those of the recording, and keep increasing when it loops.

    Args:
        path: file of RealSense's recorder: .db3, written by SDK 2.59, or .bag, written by earlier versions, which the
            SDK still reads but has deprecated.
        loop: start again at the end.

    Raises:
        BadInputError: the SDK cannot play the file, or it has no colour stream.
        MissingDependencyError: the SDK is not installed.
    """

    def __init__(self, path: str, loop: bool = True) -> None:
        rs = load_realsense()
        super().__init__(f"bag:{path}")
        self._pipeline, config = rs.pipeline(), rs.config()
        receiver = SdkReceiver(rs, self.name, self._inbox, DeviceClock().stamp_ns, renumber=IncreasingNumbers())
        try:
            config.enable_device_from_file(path, loop)
            config.enable_stream(rs.stream.color)
            profile = self._pipeline.start(config, receiver)
        except RuntimeError as error:
            found = foreign_content(Path(path)) or str(error)
            raise BadInputError(
                f"camera {self.name}: cannot be played: {found}; give a recording of a RealSense colour stream"
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


class IncreasingNumbers:
    """Frame numbers of a looping recording: when they jump back, they are shifted to continue from the last one."""

    def __init__(self) -> None:
        self._last, self._shift = -1, 0

    def __call__(self, number: int) -> int:
        if number + self._shift < self._last:
            self._shift = self._last + 1 - number
        self._last = number + self._shift
        return self._last
