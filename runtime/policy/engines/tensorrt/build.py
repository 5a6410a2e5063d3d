"""Engines for a bundle: in, its stages and target devices; out, an engine in the cache for each pair.

A stage's files are hashed on every call, so that a bundle that was changed is refused and not answered from the cache;
the compiler is imported only when there is something to compile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.policy.engines.tensorrt.builder import TimingCache, compile_stage
from vpp_edge.runtime.policy.engines.tensorrt.cache import EngineCache, EngineKey, EngineRecord
from vpp_edge.runtime.policy.engines.tensorrt.cuda import present_device
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags
from vpp_edge.runtime.policy.engines.tensorrt.library import Library
from vpp_edge.runtime.policy.engines.tensorrt.network import VerifiedStage, verified_stage

_SM = re.compile(r"(?:sm_?)?(\d+)\.?(\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """What engines are built for.

    Attributes:
        version: of the library.
        cuda: the CUDA that it was compiled for, or that the device's driver offers.
        sm: compute capability.
        named: the builder is told the capability, instead of taking the present device.
    """

    library: Library
    version: str
    cuda: str
    sm: str
    named: bool

    def key(self, bundle: Bundle, stage: StageRecord, flags: BuildFlags) -> EngineKey:
        """The key of a stage's engine; the hashes are those that the manifest states."""
        files = bundle.manifest.files
        weights = None if stage.weights is None else files[stage.weights].sha256
        return EngineKey(
            stage=stage.name,
            graph=files[stage.graph].sha256,
            weights=weights,
            library=self.library.module,
            version=self.version,
            cuda=self.cuda,
            sm=self.sm,
            flags=flags.to_json(),
        )


@dataclass(frozen=True)
class BuildOptions:
    """How `build_engines` works.

    Attributes:
        force: build even what the cache has.
        prune: remove engines that the new ones replace.
        timing_cache: what earlier builds learned; for a library that times kernels while it builds.
        verbose: print all that the compiler says.
    """

    flags: BuildFlags = field(default_factory=BuildFlags)
    force: bool = False
    prune: bool = False
    timing_cache: TimingCache | None = None
    verbose: bool = False


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that is in the cache now.

    Attributes:
        cached: it was there before.
        note: why an engine that was there was not taken; "" when there is nothing to say.
        pruned: files of the engines that it replaced.
    """

    record: EngineRecord
    cached: bool
    note: str = ""
    pruned: tuple[str, ...] = ()


def targets_of_library(library: Library, capabilities: Sequence[str]) -> list[Target]:
    """What to build for: the named compute capabilities (`86`, `8.6`, `sm86`), or the present device when none is.

    Raises:
        MissingDependencyError: the library, or what is needed to ask for the device, is not installed.
        BadInputError: no such capability, no device, or another device than the present one for a library that
            builds for that only.
    """
    version, compiled_for = library.version()
    wanted = list(dict.fromkeys(_capability(text) for text in capabilities))
    if wanted and library.builds_for_others:
        cuda = compiled_for or "unknown"
        return [Target(library=library, version=version, cuda=cuda, sm=sm, named=True) for sm in wanted]
    try:
        present = present_target(library)
    except BadInputError as error:
        if not library.builds_for_others:
            raise
        raise BadInputError(f"{error}. To build for another machine, name its GPU: --sm 86") from error
    if wanted not in ([], [present.sm]):
        raise BadInputError(
            f"--sm {' '.join(wanted)}: {library.module} builds for the present device only, which is SM {present.sm}. "
            "Build on the device, or with --backend tensorrt-rtx for the devices that it knows."
        )
    return [present]


def present_target(library: Library) -> Target:
    """The GPU of this machine.

    Raises:
        MissingDependencyError: the library, or what is needed to ask for the device, is not installed.
        BadInputError: there is none.
    """
    version, compiled_for = library.version()
    device = present_device()
    return Target(
        library=library,
        version=version,
        cuda=compiled_for or device.cuda,
        sm=device.sm,
        named=library.builds_for_others,
    )


def step_name(stage: str, target: Target) -> str:
    """How progress calls the building of a stage for a target."""
    return f"{stage} sm{target.sm}"


def build_engines(
    bundle: Bundle,
    stages: Sequence[str],
    targets: Sequence[Target],
    options: BuildOptions = BuildOptions(),
    report: ProgressCallback = ignore_progress,
) -> list[BuiltEngine]:
    """Builds what the cache does not have, stage by stage; an engine is kept as soon as it is there.

    Raises:
        BundleError: a file of the bundle is not as its manifest states.
        BadInputError: a graph or a target that the compiler does not take.
        VppEdgeError: the compiler failed.
    """
    built = []
    for name in stages:
        stage = None
        for target in targets:
            report(step_name(name, target), 0.0)
            stage = stage or verified_stage(bundle, name)
            built.append(_build_stage(bundle, stage, target, options))
    return built


def _build_stage(bundle: Bundle, stage: VerifiedStage, target: Target, options: BuildOptions) -> BuiltEngine:
    cache, key = EngineCache(bundle.path), target.key(bundle, stage.record, options.flags)
    record, note = cache.find(key), ""
    if record is not None and not options.force:
        try:
            cache.open_verified(record)
        except BundleError as error:
            note = str(error)
        else:
            return BuiltEngine(record, cached=True, pruned=_prune(cache, key, options))
    trt = target.library.load()
    compiled = compile_stage(
        trt,
        stage,
        options.flags,
        sm=target.sm if target.named else None,
        timing_cache=options.timing_cache,
        verbose=options.verbose,
    )
    record = cache.store(key, compiled.plan, seconds=compiled.seconds, layers=compiled.layers)
    return BuiltEngine(record, cached=False, note=note, pruned=_prune(cache, key, options))


def _prune(cache: EngineCache, key: EngineKey, options: BuildOptions) -> tuple[str, ...]:
    return tuple(cache.prune(key)) if options.prune else ()


def _capability(text: str) -> str:
    match = _SM.fullmatch(text)
    if match is None:
        raise BadInputError(f"--sm {text}: expected a compute capability such as 86, or 87 for an Orin")
    return match[1] + match[2]
