"""Maps the top-level folders to the import package `vpp_edge.<folder>`; everything else is in pyproject.toml."""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

FLOORS = ("kernels", "export", "runtime", "calibration")

packages = find_packages(include=["vpp_edge", "vpp_edge.*"])
package_dir = {"vpp_edge": "vpp_edge"}
for floor in FLOORS:
    package_dir[f"vpp_edge.{floor}"] = floor
    packages += [f"vpp_edge.{floor}", *(f"vpp_edge.{floor}.{name}" for name in find_packages(floor))]


class BuildWithDemo(build_py):
    """Adds the exported demo policy, where scripts/make_wheel.py names one: building it needs PyTorch."""

    def run(self) -> None:
        super().run()
        if bundle := os.environ.get("VPP_EDGE_DEMO_BUNDLE"):
            target = Path(self.build_lib) / "vpp_edge" / "demo_bundle"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(bundle, target, ignore=shutil.ignore_patterns("engines"))


setup(packages=packages, package_dir=package_dir, cmdclass={"build_py": BuildWithDemo})
