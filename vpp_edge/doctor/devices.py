"""Checks of devices and their drivers: cameras, rendering, NVIDIA GPU or Jetson, providers of ONNX Runtime."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from vpp_edge.doctor.checks import LIMITED, MISSING, OK, Check, run_command, run_python
from vpp_edge.installing import pip_install
from vpp_edge.runtime.policy.engines.execution_providers import swap_command

# The probes load these libraries as the runtime does, so doctor reports what `run` will see.
REALSENSE_PROBE = """
import json
from vpp_edge.runtime.cameras.sdk import load_realsense
rs = load_realsense()
read = lambda device, field: device.get_info(field) if device.supports(field) else "?"
print(json.dumps([
    {"name": read(d, rs.camera_info.name), "serial": read(d, rs.camera_info.serial_number),
     "usb": read(d, rs.camera_info.usb_type_descriptor)}
    for d in rs.context().query_devices()
]))
"""

RENDER_PROBE = """
import json, numpy
from vpp_edge.runtime.sim.renderer import STATE_SIZE, SimRenderer
from vpp_edge.runtime.sim.view_names import VIEWS
state = numpy.zeros(STATE_SIZE)
state[6] = 1.0
with SimRenderer(64, 64) as renderer:
    image = renderer.render(VIEWS[0], state)
    print(json.dumps({"kind": renderer.kind, "note": renderer.note, "empty": bool(image.min() == image.max())}))
"""

PROVIDERS_PROBE = "import json, onnxruntime; print(json.dumps(onnxruntime.get_available_providers()))"

UDEV_FIX = "install librealsense's udev rules (99-realsense-libusb.rules), then plug the camera in again"
EGL_FIX = "sudo apt-get install libegl1 libgl1-mesa-dri   (or libosmesa6)"


def check_realsense() -> list[Check]:
    """Whether the SDK loads, and which cameras it sees. The SDK may hang, so it runs in another process."""
    needed_for = "run --camera realsense, software, bag"
    if importlib.util.find_spec("pyrealsense2") is None:
        return []
    answer = run_python(REALSENSE_PROBE, dict(os.environ))
    if isinstance(answer, dict):
        no_libusb = "libusb" in answer["error"]
        fix = pip_install("realsense") if no_libusb else "pip install --force-reinstall pyrealsense2"
        return [Check("RealSense SDK", MISSING, f"does not load: {answer['error']}", needed_for, fix=fix)]
    sdk = Check("RealSense SDK", OK, "loads", needed_for)
    cameras = [f"{c['name']} {c['serial']} (USB {c['usb']})" for c in answer]
    slow = any(str(c["usb"]).startswith("2") for c in answer)
    if not cameras:
        fix = "plug one into a USB 3 port, or run without one: --camera software:..." + _udev_hint()
        return [sdk, Check("RealSense cameras", MISSING, "none found", "run --camera realsense", fix=fix)]
    detail, fix = "; ".join(cameras), "use a USB 3 port and cable" if slow else ""
    return [sdk, Check("RealSense cameras", LIMITED if slow else OK, detail, "run --camera realsense", fix=fix)]


def _udev_hint() -> str:
    folders = (Path("/etc/udev/rules.d"), Path("/lib/udev/rules.d"))
    has_rules = any(path for folder in folders if folder.is_dir() for path in folder.glob("*realsense*"))
    return "" if has_rules or os.geteuid() == 0 else f"; if one is plugged in: {UDEV_FIX}"


def check_rendering() -> list[Check]:
    """What renders the simulated hand: a headless GL library, or our own rasterizer on the CPU."""
    if importlib.util.find_spec("mujoco") is None:
        return []
    needed_for = "demo, run --camera software:sim"
    answer = run_python(RENDER_PROBE, dict(os.environ))
    if "error" in answer or answer["empty"]:
        detail = answer.get("error", f"{answer.get('kind')} renders an empty image")
        return [Check("rendering", MISSING, detail, needed_for, fix=EGL_FIX)]
    if answer["kind"] == "software":
        detail = f"on the CPU, without GL: slower. {answer['note']}".strip()
        return [Check("rendering", LIMITED, detail, needed_for, fix=EGL_FIX)]
    return [Check("rendering", OK, f"MuJoCo with {answer['kind']}", needed_for)]


def check_engines() -> list[Check]:
    """The execution providers of ONNX Runtime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return []
    answer = run_python(PROVIDERS_PROBE, dict(os.environ))
    needed_for = "run, profile, verify with --backend onnxruntime"
    if isinstance(answer, dict):
        fix = "pip install --force-reinstall onnxruntime"
        return [Check("ONNX Runtime providers", MISSING, answer["error"], needed_for, fix=fix)]
    names = [name.removesuffix("ExecutionProvider") for name in answer]
    if "CUDA" not in names and check_accelerator()[0].status == OK:
        detail = f"{', '.join(names)}; none for the GPU of this machine"
        fix = swap_command(platform.machine())
        return [Check("ONNX Runtime providers", LIMITED, detail, "--provider cuda, tensorrt", fix=fix)]
    return [Check("ONNX Runtime providers", OK, ", ".join(names), needed_for)]


def check_accelerator() -> list[Check]:
    """The Jetson or NVIDIA GPU, and on a Jetson its power mode."""
    needed_for = "run --backend tensorrt"
    model = jetson_model()
    if model:
        mode = run_command("nvpmodel", "-q")
        lines = [line.strip() for line in (mode or "").splitlines() if line.strip()]
        name = next((line.partition(":")[2].strip() for line in lines if "Power Mode" in line), "unknown")
        full = name.upper().startswith("MAXN")
        return [
            Check("NVIDIA GPU", OK, model, needed_for),
            Check(
                name="power mode",
                status=OK if full else LIMITED,
                detail=name,
                needed_for="the lowest latency of this board",
                fix="" if full else "sudo nvpmodel -m 0 && sudo jetson_clocks",
            ),
        ]
    query = "--query-gpu=name,driver_version,memory.total,compute_cap"
    gpus = run_command("nvidia-smi", query, "--format=csv,noheader")
    if gpus:
        return [Check("NVIDIA GPU", OK, "; ".join(gpus.splitlines()), needed_for)]
    fix = "none needed for --backend onnxruntime on the CPU"
    return [Check("NVIDIA GPU", MISSING, "none found", needed_for, fix=fix)]


def jetson_model(path: Path = Path("/proc/device-tree/model")) -> str | None:
    """The name of the board; None if it is not a Jetson."""
    try:
        model = path.read_bytes().rstrip(b"\0").decode(errors="replace").strip()
    except OSError:
        return None
    return model if "NVIDIA" in model or "Jetson" in model else None
