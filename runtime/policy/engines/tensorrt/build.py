"""Builds TensorRT engines for the stages of a bundle and target devices, and stores them in the bundle's cache.

A stage's files are hashed on every call, so that a modified bundle is rejected rather than served from the cache. The
compiler is imported only when there is something to compile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.files.outputs import check_output_folder
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
        cuda: the CUDA version that the library was compiled for, or else that of the device's driver.
        sm: compute capability.
        named: the capability is passed to the builder, which otherwise builds for the device of this machine.
    """

    library: Library
    version: str
    cuda: str
    sm: str
    named: bool

    def key(self, bundle: Bundle, stage: StageRecord, flags: BuildFlags) -> EngineKey:
        """The key of a stage's engine, with the hashes of the manifest."""
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
        force: build even what is cached.
        prune: remove engines that the new ones replace.
        timing_cache: kernel timings of earlier builds, for a library that times kernels during the build.
        verbose: print all messages of the compiler.
    """

    flags: BuildFlags = field(default_factory=BuildFlags)
    force: bool = False
    prune: bool = False
    timing_cache: TimingCache | None = None
    verbose: bool = False


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache.

    Attributes:
        cached: it existed before.
        note: why an existing engine was not used; empty if there is none.
        sparsity: what the compiler said about sparse weights; nothing if it was not asked, or has no such kernels.
        pruned: files of the engines that it replaced.
    """

    record: EngineRecord
    cached: bool
    note: str = ""
    sparsity: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()


def targets_of_library(library: Library, capabilities: Sequence[str]) -> list[Target]:
    """The targets of the given compute capabilities (`86`, `8.6`, `sm86`); none: the GPU of this machine.

    Raises:
        MissingDependencyError: the library, or the CUDA bindings that query the device, are not installed.
        BadInputError: invalid capability, no device, or another device for a library that can only build for the device
            of this machine.
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
            f"--sm {' '.join(wanted)}: {library.module} builds only for this machine's GPU, which is SM {present.sm}. "
            "Build on the target device, or with --backend tensorrt-rtx for the devices that it supports."
        )
    return [present]


def present_target(library: Library) -> Target:
    """The GPU of this machine.

    Raises:
        MissingDependencyError: the library, or the CUDA bindings that query the device, are not installed.
        BadInputError: there is no usable GPU.
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
    """Name of the progress stage that builds a stage for a target."""
    return f"{stage} sm{target.sm}"


def build_engines(
    bundle: Bundle,
    stages: Sequence[str],
    targets: Sequence[Target],
    options: BuildOptions = BuildOptions(),
    report: ProgressCallback = ignore_progress,
) -> list[BuiltEngine]:
    """Builds the engines that are not cached, stage by stage; each is stored as soon as it is built.

    Raises:
        BundleError: a file of the bundle differs from its manifest.
        BadInputError: the compiler rejects a graph or a target.
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
    check_output_folder(cache.path, "engines in")
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
    return BuiltEngine(record, cached=False, note=note, sparsity=compiled.sparsity, pruned=_prune(cache, key, options))


def _prune(cache: EngineCache, key: EngineKey, options: BuildOptions) -> tuple[str, ...]:
    return tuple(cache.prune(key)) if options.prune else ()


def _capability(text: str) -> str:
    match = _SM.fullmatch(text)
    if match is None:
        raise BadInputError(f"--sm {text}: expected a compute capability such as 86, or 87 for an Orin")
    return match[1] + match[2]
