"""Bundles of the policies that ship with this package: exported on first use, then reused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.separation import UNKNOWN
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.demo.observations import expert_observations
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.export import exporter
from vpp_edge.export.exporter import ExportOptions, checkpoint_hashes, export_bundle
from vpp_edge.progress import Progress
from vpp_edge.workflow import calibrating, lowering
from vpp_edge.workflow.calibrating import calibrate_bundle
from vpp_edge.workflow.lowering import LoweringOptions, lower_bundle
from vpp_edge.workflow.observations import separation_of

CALIBRATION_OBSERVATIONS, HELD_OUT_OBSERVATIONS = 24, 8


@dataclass(frozen=True)
class DemoOptions:
    """How a policy of this package is exported; None: as it was trained.

    Attributes:
        policy: its name, one of POLICIES.
        precision: `fp32`, `fp16` or `int8`.
        steps, solver: settings of the sampler. `frames`: how many the video model computes.
    """

    precision: str = "fp32"
    steps: int | None = None
    solver: str | None = None
    frames: int | None = None
    policy: str = DEMO

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise BadInputError(f"precision {self.precision!r}; expected {', '.join(PRECISIONS)}")
        if self.policy not in POLICIES:
            raise BadInputError(f"policy {self.policy!r}; expected {', '.join(POLICIES)}")

    @property
    def folder_name(self) -> str:
        """Name of the bundle's folder, one per set of options, e.g. `bundle-int8-steps4`."""
        settings = {"steps": self.steps, "solver": self.solver, "frames": self.frames}
        given = [f"{name}{value}" for name, value in settings.items() if value is not None]
        return "-".join(["bundle" if self.policy == DEMO else self.policy, self.precision, *given])


def demo_bundle(
    folder: Path, options: DemoOptions, *, fresh: bool, quiet: bool, say: Callable[[str], None] = print
) -> Path:
    """The bundle in `folder`: that of an earlier call with these options, versions and weights, or a new one.

    Args:
        fresh: export even if a usable bundle exists.
        quiet: show no progress.

    Raises:
        BadInputError, CheckpointError: the policy does not support the options, or the disk is full.
    """
    bundle, paths = folder / options.folder_name, paths_from_folder(POLICIES[options.policy].folder)
    if not fresh and is_bundle_of(bundle, checkpoint_hashes(paths)):
        say(f"Using the bundle of an earlier run, {bundle}.")
        return bundle
    if options.precision == "fp32":
        choices = Choices(steps=options.steps, solver=options.solver, frames=options.frames)
        with Progress("demo policy", exporter.PROGRESS_STAGES, quiet=quiet) as progress:
            export_bundle(paths, bundle, ExportOptions(choices, overwrite=bundle.exists()), progress)
        return bundle
    source = Bundle(demo_bundle(folder, replace(options, precision="fp32"), fresh=fresh, quiet=quiet, say=say))
    _lower(source, bundle, options, quiet)
    return bundle


def _lower(source: Bundle, target: Path, wanted: DemoOptions, quiet: bool) -> None:
    spec, precision, worlds = source.manifest.policy, wanted.precision, POLICIES[wanted.policy].worlds
    stages = (*(calibrating.PROGRESS_STAGES if precision == "int8" else ()), *lowering.PROGRESS_STAGES)
    held_out = expert_observations(spec, HELD_OUT_OBSERVATIONS, seed=1, worlds=worlds)
    with Progress("demo policy", stages, quiet=quiet) as progress:
        table, apart = None, UNKNOWN
        if precision == "int8":
            calibration = expert_observations(spec, CALIBRATION_OBSERVATIONS, seed=0, worlds=worlds)
            apart = separation_of(calibration, held_out)
            table = calibrate_bundle(source, calibration, report=progress)
        options = LoweringOptions(precision, data=held_out.description, separation=apart, overwrite=target.exists())
        lower_bundle(source, target, held_out.samples, options, table=table, report=progress)


def is_bundle_of(path: Path, checkpoint_sha256: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether `path` is an intact bundle of the checkpoint with these hashes, exported with the installed versions."""
    try:
        bundle = Bundle(path)
        bundle.verify_all()
    except BundleError:
        return False
    origin = bundle.manifest.provenance
    versions = origin.get("versions", {})
    same_versions = bool(versions) and all(version(name) == v for name, v in versions.items() if v)
    return same_versions and origin.get("checkpoint_sha256") == checkpoint_sha256
