"""Check with pip that a 64-bit Arm board can install the runtime without a compiler.

Prints a table of wheels for JetPack's Pythons; exit status 1 if one is missing. Checked are base + extra `jetson` with
all dependencies except pycuda, which is built on the Jetson against its CUDA. Nothing is downloaded if the index serves
metadata separately.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.10", "3.12")  # JetPack 6 and JetPack 7.2
GLIBC_MINOR = range(17, 36)  # manylinux_2_17 (manylinux2014) to 2_35 (Ubuntu 22.04, JetPack 6)
BUILT_ON_THE_BOARD = frozenset({"pycuda"})
EXTRAS = ("", "jetson", "realsense", "sim", "video", "log", "leap", "inspire")  # `jetson` includes the others


@dataclass(frozen=True)
class Wheel:
    """The wheel that pip found for one requirement on one Python.

    Attributes:
        python: such as `3.10`.
        requirement: without its marker.
        wheel: file name of the wheel; None if there is none for the board.
        needed_by: the distribution that requires it.
    """

    python: str
    requirement: str
    wheel: str | None
    needed_by: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of the table")
    parser.add_argument("--direct", action="store_true", help="only what vpp-edge itself requires")
    arguments = parser.parse_args()
    wheels = [wheel for python in PYTHONS for wheel in find_wheels(python, direct_only=arguments.direct)]
    print(json.dumps([asdict(w) for w in wheels], indent=1) if arguments.json else table(wheels))
    missing = [w for w in wheels if w.wheel is None]
    for wheel in missing:
        print(f"error: no Arm wheel of {wheel.requirement} for Python {wheel.python}", file=sys.stderr)
    return 1 if missing else 0


def find_wheels(python: str, *, direct_only: bool = False) -> Iterator[Wheel]:
    """Every requirement of the runtime on `python`, breadth first, each distribution once."""
    waiting = [(line, "vpp-edge", EXTRAS) for line in requires("vpp-edge") or ()]
    seen: set[str] = set(BUILT_ON_THE_BOARD) | {"vpp-edge"}
    while waiting:
        line, needed_by, extras = waiting.pop(0)
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in seen or not _applies(requirement, python, extras):
            continue
        seen.add(name)
        plain = f"{name}{requirement.specifier}"
        wheel, needs = ask_pip(plain, python)
        yield Wheel(python=python, requirement=plain, wheel=wheel, needed_by=needed_by)
        if not direct_only:
            waiting += [(need, name, ("", *requirement.extras)) for need in needs]


def ask_pip(requirement: str, python: str) -> tuple[str | None, list[str]]:
    """File name of the newest compatible wheel and its requirements; (None, []) if there is none.

    Raises:
        SystemExit: pip failed for another reason than a missing wheel.
    """
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in GLIBC_MINOR] + ["manylinux2014_aarch64"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
        command += [word for platform in platforms for word in ("--platform", platform)]
        command += ["--target", folder, "--report", "-", requirement]
        answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        if "No matching distribution found" in answer.stderr:
            return None, []
        raise SystemExit(f"error: pip failed on {requirement}:\n{answer.stderr}")
    item = json.loads(answer.stdout)["install"][0]
    return item["download_info"]["url"].rpartition("/")[2], item["metadata"].get("requires_dist", [])


def _applies(requirement: Requirement, python: str, extras: tuple[str, ...]) -> bool:
    """Whether a requirement applies to the board; pip would evaluate the marker for the machine it runs on."""
    board = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "aarch64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.12",
        "python_version": python,
        "sys_platform": "linux",
    }
    marker = requirement.marker
    return marker is None or any(marker.evaluate(board | {"extra": extra}) for extra in extras)


def table(wheels: list[Wheel]) -> str:
    """A Markdown table, one row for every requirement."""
    rows = ["| Python | requirement | wheel | needed by |", "|---|---|---|---|"]
    rows += [f"| {w.python} | {w.requirement} | {w.wheel or '**none**'} | {w.needed_by} |" for w in wheels]
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
