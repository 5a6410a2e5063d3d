"""Build flags of an engine, checked; they configure a builder and are part of the engine's key.

Names and meaning are those of trtexec
(https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/command-line-programs.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import whole
from vpp_edge.suggestion import did_you_mean

LEVELS = whole(0, 5)
AUXILIARY_STREAMS = whole(0, 1024)
MOST_POOL_BYTES = 2**63 - 1
TILINGS = ("none", "fast", "moderate", "full")
SPARSITIES = DISABLE, ENABLE = "disable", "enable"  # without trtexec's `force`, which overwrites weights
VERBOSITIES = ("layer_names_only", "detailed", "none")
# Names of memory pools in trtexec and in TensorRT; without those of DLA, where the stages do not run.
POOLS = {"workspace": "WORKSPACE", "tacticSharedMem": "TACTIC_SHARED_MEMORY"}
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_POOL = re.compile(r"(\w+):(\d+(?:\.\d+)?)([BKMG]?)")


@dataclass(frozen=True)
class BuildFlags:
    """Flags that change the engine built from a graph; None leaves the choice to TensorRT.

    Attributes:
        optimization_level: 0 (fastest build) to 5 (longest search).
        memory_pools: (pool of POOLS, bytes).
        max_aux_streams: streams in addition to the main one.
        tf32: tensor cores may round float32 factors to 10 bits of mantissa. Off by default: the parity of a float32
            bundle was certified without it.
        tiling: one of TILINGS.
        profiling_verbosity: one of VERBOSITIES; the detail of an engine's layer information.
        sparsity: where weights are 2:4 sparse, TensorRT may use sparse kernels; it does where they are faster.

    Raises:
        BadInputError: a value is out of range.
    """

    optimization_level: int | None = None
    memory_pools: tuple[tuple[str, int], ...] = ()
    max_aux_streams: int | None = None
    tf32: bool = False
    tiling: str | None = None
    profiling_verbosity: str = "layer_names_only"
    sparsity: bool = False

    def __post_init__(self) -> None:
        if self.optimization_level is not None:
            LEVELS.check("--builderOptimizationLevel", self.optimization_level)
        if self.max_aux_streams is not None:
            AUXILIARY_STREAMS.check("--maxAuxStreams", self.max_aux_streams)
        if self.tiling is not None and self.tiling not in TILINGS:
            raise BadInputError(
                f"--tilingOptimizationLevel is {self.tiling!r}{did_you_mean(self.tiling, TILINGS)}, expected one of "
                f"{', '.join(TILINGS)}"
            )
        if self.profiling_verbosity not in VERBOSITIES:
            raise BadInputError(
                f"--profilingVerbosity is {self.profiling_verbosity!r}"
                f"{did_you_mean(self.profiling_verbosity, VERBOSITIES)}, expected one of {', '.join(VERBOSITIES)}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values, equal for equal flags only."""
        return {
            "optimization_level": self.optimization_level,
            "memory_pools": dict(sorted(self.memory_pools)),
            "max_aux_streams": self.max_aux_streams,
            "tf32": self.tf32,
            "tiling": self.tiling,
            "profiling_verbosity": self.profiling_verbosity,
            "sparsity": self.sparsity,
        }

    def configure(self, trt: Any, config: Any) -> None:
        """Configures an IBuilderConfig; BadInputError if this TensorRT is too old for one of the flags."""
        if self.optimization_level is not None:
            config.builder_optimization_level = self.optimization_level
        for pool, size in self.memory_pools:
            config.set_memory_pool_limit(getattr(trt.MemoryPoolType, POOLS[pool]), size)
        if self.max_aux_streams is not None:
            config.max_aux_streams = self.max_aux_streams
        if not self.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if self.tiling is not None:
            if not hasattr(config, "tiling_optimization_level"):
                raise BadInputError(f"--tilingOptimizationLevel: not supported by TensorRT {trt.__version__}")
            config.tiling_optimization_level = getattr(trt.TilingOptimizationLevel, self.tiling.upper())
        if self.sparsity:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        config.profiling_verbosity = getattr(trt.ProfilingVerbosity, self.profiling_verbosity.upper())


def memory_pools_from_text(text: str) -> tuple[tuple[str, int], ...]:
    """Parses trtexec's `workspace:1024,tacticSharedMem:48K` into (pool, bytes); numbers without unit are in MiB.

    Raises:
        BadInputError: invalid syntax, or a pool that the stages do not use.
    """
    pools: dict[str, int] = {}
    for part in text.split(","):
        match = _POOL.fullmatch(part)
        if match is None or match[1] not in POOLS:
            raise BadInputError(
                f"--memPoolSize has {part!r:.60}{did_you_mean(part.partition(':')[0], POOLS)}, expected "
                f"POOL:SIZE[B|K|M|G] with a pool of {', '.join(POOLS)}"
            )
        size = float(match[2]) * _UNITS[match[3] or "M"]
        if size > MOST_POOL_BYTES:
            raise BadInputError(f"--memPoolSize has {part!r:.60}, expected at most 2**63 - 1 bytes")
        pools[match[1]] = int(size)
    return tuple(pools.items())
