"""Imports the RealSense SDK, or says how to install it.

Calls into the SDK can block for seconds, and `stop` and resets can hang forever (field reports from Jetsons). There is
no protection against that here: run each camera in a process of its own, which can be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
from types import ModuleType

from vpp_edge.errors import MissingDependencyError
from vpp_edge.installing import pip_install


def load_realsense() -> ModuleType:
    """pyrealsense2, imported after libusb.

    Its wheels link against libusb but do not contain it. The libusb of `libusb-package` works without root once
    its symbols are global; without that package, the system's libusb may do.

    Raises:
        MissingDependencyError: pyrealsense2 or libusb is not installed.
    """
    with contextlib.suppress(ImportError, OSError):
        import libusb_package

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    try:
        import pyrealsense2
    except ImportError as error:
        library = "libusb (libusb-package)" if "libusb" in str(error) else "pyrealsense2"
        if not isinstance(error, ModuleNotFoundError):
            library += f" that can be loaded here ({error})"
        purpose = "a realsense, bag or software camera"
        raise MissingDependencyError(library, purpose, pip_install("realsense")) from error
    return pyrealsense2


def attached_cameras() -> dict[str, str]:
    """Serial number and product name of every RealSense camera on the bus. Raises MissingDependencyError."""
    rs = load_realsense()
    devices = [d for d in rs.context().query_devices() if d.supports(rs.camera_info.serial_number)]
    return {d.get_info(rs.camera_info.serial_number): d.get_info(rs.camera_info.name) for d in devices}
