"""The backend interface: the contract between a bundle's stages and the library that runs them.

Backends register under the entry-point group `vpp_edge.backends`; `runtime/policy/engines/registry.py` finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.number_range import whole
from vpp_edge.suggestion import check_text, did_you_mean

if TYPE_CHECKING:
    import numpy as np  # --help must not load it

ONNXRUNTIME = "onnxruntime"  # the default backend, and the only one with providers
PROVIDERS = ("cpu", "cuda", "tensorrt")
THREADS = whole(1, 1024)

PRECISION_FROM_CHECKPOINT = {"torch": "fp32", "torch-cuda": "fp16"}
"""Backends that run the trained checkpoint instead of the bundle's graphs, and the precision they run it in, whatever
the precision of the bundle."""


@dataclass(frozen=True)
class EngineOptions:
    """Options of a backend.

    Attributes:
        threads: CPU threads per stage; None lets the backend choose.
        checkpoint: folder of the trained policy, for backends of PRECISION_FROM_CHECKPOINT only; None: the path at
            export.
        provider: execution provider, one of PROVIDERS, for the `onnxruntime` backend only; None: the CPU.

    Raises:
        BadInputError: the provider is unknown, or the number of threads is out of range.
    """

    threads: int | None = None
    checkpoint: str | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        if self.provider is not None:
            check_text("provider", self.provider)
        if self.provider is not None and self.provider not in PROVIDERS:
            raise BadInputError(
                f"unknown provider {self.provider!r}{did_you_mean(self.provider, PROVIDERS)}; expected one of "
                f"{', '.join(PROVIDERS)}"
            )
        if self.threads is not None:
            THREADS.check("threads", self.threads)


def check_provider_belongs(backend: str, provider: str | None) -> None:
    """Raises BadInputError for a provider together with a backend other than ONNX Runtime."""
    if provider is not None and backend != ONNXRUNTIME:
        raise BadInputError(
            f"provider {provider!r} belongs to ONNX Runtime, but the backend is {backend!r}; leave one of them out"
        )


class Engine(Protocol):
    """One stage, ready to run."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; inputs have the names, shapes and dtypes of the stage's record."""

    def close(self) -> None:
        """Releases what the engine holds. May be called twice; `run` must not be called afterwards."""


def close_engines(engines: Mapping[str, Engine]) -> None:
    """Closes all of them, even when one fails; the error is raised afterwards."""
    with ExitStack() as stack:
        for engine in engines.values():
            stack.callback(engine.close)


@contextmanager
def closed_on_error(engines: Mapping[str, Engine]) -> Iterator[None]:
    """Closes the engines when the body raises."""
    try:
        yield
    except BaseException:
        with suppress(HardwareFaultError):  # the first error says more
            close_engines(engines)
        raise


class Backend(Protocol):
    """Opens the stages of a bundle.

    Raises:
        MissingDependencyError: the backend's library is not installed.
        BundleError: a file of the bundle does not match its manifest.
    """

    def __call__(self, bundle: Bundle, options: EngineOptions) -> Mapping[str, Engine]: ...
