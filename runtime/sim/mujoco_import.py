"""Imports MuJoCo, here only, with a rendering backend that exists on this machine.

MuJoCo reads MUJOCO_GL while it is imported, and the import fails if that library is missing. So the library is looked
up first. Without any, physics still works, and `rasterizer` renders the images.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.suggestion import did_you_mean

LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
GL_RENDERER = 0x1F01
CPU_DRIVERS = ("llvmpipe", "softpipe", "swrast", "swiftshader")
OFF = ("disable", "disabled", "off", "false", "0")
WINDOW = ("glfw", "glx", "enable", "enabled", "on", "true", "1")  # left to MuJoCo; these need a display


def import_mujoco() -> Any:
    """The module `mujoco`, whether or not this machine has a GL library.

    Uses the backend of MUJOCO_GL if its library exists; without MUJOCO_GL, EGL, which needs no display. The environment
    is restored afterwards.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
        BadInputError: MUJOCO_GL is not a value that MuJoCo knows.
    """
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = gl_kind()
    try:
        import mujoco
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mujoco":
            raise
        raise MissingDependencyError("mujoco", "the simulated hand", pip_install("sim")) from error
    finally:
        if chosen is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = chosen
    return mujoco


def gl_kind() -> str:
    """MuJoCo's rendering backend here: `egl`, `osmesa`, another value of MUJOCO_GL, or `disable`."""
    return _usable(os.environ.get("MUJOCO_GL"))


def software_driver() -> str:
    """The driver of EGL's current context if it renders on the CPU (such as Mesa's llvmpipe); else empty."""
    get_address = ctypes.CDLL(LIBRARIES["egl"][0]).eglGetProcAddress
    get_address.restype = ctypes.c_void_p
    get_string = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_uint)(get_address(b"glGetString"))
    driver = (get_string(GL_RENDERER) or b"").decode(errors="replace")
    return driver if any(name in driver.lower() for name in CPU_DRIVERS) else ""


def _usable(chosen: str | None) -> str:
    name = (chosen or "").lower().strip()
    if name in OFF:
        return "disable"
    if name in WINDOW:
        return name
    if name and name not in LIBRARIES:
        known = (*LIBRARIES, "glfw", OFF[0])
        raise BadInputError(
            f"MUJOCO_GL={chosen}{did_you_mean(chosen, known)}: expected one of {', '.join(known)}, or unset"
        )
    kind = name or "egl"
    return kind if _has_library(kind) else "disable"


def _has_library(kind: str) -> bool:
    for library in LIBRARIES[kind]:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False
