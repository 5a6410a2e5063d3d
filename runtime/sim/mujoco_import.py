"""The one place that imports MuJoCo: in, the environment; out, the module, told beforehand how it is to draw.

MuJoCo reads MUJOCO_GL while it is imported, and with a library of that name missing the import itself fails. So the
library is looked for first. Without any, physics works as ever, and `rasterizer` draws.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError

LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
GL_RENDERER = 0x1F01
CPU_DRIVERS = ("llvmpipe", "softpipe", "swrast", "swiftshader")
OFF = ("disable", "disabled", "off", "false", "0")
WINDOW = ("glfw", "glx", "enable", "enabled", "on", "true", "1")  # left to MuJoCo, which needs a screen for them


def import_mujoco() -> Any:
    """The module `mujoco`, whether or not this machine has a GL library.

    What the user chose with MUJOCO_GL is used where its library is there; with no choice, EGL, which needs no screen.
    The environment is left as it was.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
        BadInputError: MUJOCO_GL names nothing that MuJoCo knows.
    """
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = gl_kind()
    try:
        import mujoco
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mujoco":
            raise
        raise MissingDependencyError("mujoco", "the simulated hand", "pip install 'vpp-edge[sim]'") from error
    finally:
        if chosen is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = chosen
    return mujoco


def gl_kind() -> str:
    """How MuJoCo would draw here: `egl`, `osmesa`, another choice of the user, or `disable`."""
    return _usable(os.environ.get("MUJOCO_GL"))


def cpu_that_draws() -> str:
    """The driver behind EGL's current context where that is no GPU but a program (Mesa's llvmpipe); else empty."""
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
        raise BadInputError(f"MUJOCO_GL={chosen}: expected one of {', '.join((*LIBRARIES, 'glfw', OFF[0]))}, or unset")
    kind = name or "egl"
    return kind if _has_library(kind) else "disable"


def _has_library(kind: str) -> bool:
    for library in LIBRARIES[kind]:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False
