"""Maps the top-level folders to the import package `vpp_edge.<folder>`; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FLOORS = ("kernels", "export", "runtime", "calibration")

packages = find_packages(include=["vpp_edge", "vpp_edge.*"])
package_dir = {"vpp_edge": "vpp_edge"}
for floor in FLOORS:
    package_dir[f"vpp_edge.{floor}"] = floor
    packages += [f"vpp_edge.{floor}", *(f"vpp_edge.{floor}.{name}" for name in find_packages(floor))]

setup(packages=packages, package_dir=package_dir)
