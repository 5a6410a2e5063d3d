"""Imports the Python module of either TensorRT, here only.

`tensorrt` is the library of JetPack (10.3 to 11.x), which compiles for the GPU of the machine. `tensorrt-rtx` is for
workstation GPUs: a wheel whose compiler needs no GPU. Both have the same classes; where they differ, the code checks
for the attribute instead of comparing versions.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.suggestion import did_you_mean


@dataclass(frozen=True)
class Library:
    """One TensorRT.

    Attributes:
        backend: name of the backend that uses it.
        module: name of the module to import.
        distributions: names of the packages that provide it, each with the CUDA major version that it was compiled
            for; None: that of the device's driver.
        install: how to install it.
        builds_for_others: its compiler can build engines for GPUs other than that of this machine.
    """

    backend: str
    module: str
    distributions: tuple[tuple[str, str | None], ...]
    install: str
    builds_for_others: bool

    @property
    def is_installed(self) -> bool:
        """Whether an import would find it; does not import it."""
        return importlib.util.find_spec(self.module) is not None

    def load(self) -> ModuleType:
        """The module.

        Raises:
            MissingDependencyError: it, or a library that it links to, is not installed.
        """
        try:
            return importlib.import_module(self.module)
        except (ImportError, OSError) as error:
            raise MissingDependencyError(f"{self.module} ({error})", f"backend {self.backend}", self.install) from error

    def version(self) -> tuple[str, str | None]:
        """Its version, and the CUDA major version that it was compiled for; imports the module only if necessary.

        Raises:
            MissingDependencyError: it is not installed.
        """
        if not self.is_installed:
            raise MissingDependencyError(self.module, f"backend {self.backend}", self.install)
        for distribution, cuda in self.distributions:
            try:
                return metadata.version(distribution), cuda
            except metadata.PackageNotFoundError:
                continue
        return str(self.load().__version__), None


LIBRARIES = {
    "tensorrt": Library(
        "tensorrt",
        "tensorrt",
        (("tensorrt", None), ("tensorrt-cu13", None), ("tensorrt-cu12", None)),
        "sudo apt-get install python3-libnvinfer   (with JetPack's package source)",
        builds_for_others=False,
    ),
    "tensorrt-rtx": Library(
        "tensorrt-rtx",
        "tensorrt_rtx_bindings",
        (("tensorrt-rtx-cu13-bindings", "13"), ("tensorrt-rtx-cu12-bindings", "12")),
        pip_install("tensorrt-rtx"),
        builds_for_others=True,
    ),
}


def library_of_backend(backend: str | None) -> Library:
    """The library of a backend; None: the first one that is installed.

    Raises:
        BadInputError: the backend is unknown.
        MissingDependencyError: no library is installed.
    """
    if backend is not None:
        if backend not in LIBRARIES:
            raise BadInputError(
                f"backend {backend!r}{did_you_mean(backend, LIBRARIES)} has no engines to build; expected one of: "
                f"{', '.join(LIBRARIES)}"
            )
        return LIBRARIES[backend]
    found = next((library for library in LIBRARIES.values() if library.is_installed), None)
    if found is None:
        ways = "; on a workstation: ".join(library.install for library in LIBRARIES.values())
        raise MissingDependencyError("TensorRT", "building engines", f"on a Jetson: {ways}")
    return found
