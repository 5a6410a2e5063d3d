"""The policies that closed_loop.py plays: in, a checkpoint or a bundle; out, bundles of its variants in a folder.

A bundle that an earlier call exported of the same weights is used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpp_edge.bundle.manifest import Bundle, is_bundle
from vpp_edge.bundle.tolerances import DEFAULT_BUDGET
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.demo.bundle import (
    CALIBRATION_OBSERVATIONS,
    HELD_OUT_OBSERVATIONS,
    DemoOptions,
    demo_bundle,
    is_bundle_of,
)
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.export.exporter import PROGRESS_STAGES, ExportOptions, checkpoint_hashes, export_bundle
from vpp_edge.progress import Progress
from vpp_edge.workflow.calibration_options import DEFAULT_OPTIONS
from vpp_edge.workflow.exporting import LoweredExport, export_lowered
from vpp_edge.workflow.observations import DataOptions

STEPS = {"ddim": (4, 2, 1), "dpmpp_2m": (10, 4, 2)}  # trained: 10 of ddim; with one step, the solvers are identical


@dataclass(frozen=True)
class Policy:
    """A policy to play.

    Attributes:
        name: in the table.
        path: of a checkpoint or a bundle.
        calibration: recordings for its INT8; a policy of the package needs none.
    """

    name: str
    path: Path
    calibration: Path | None = None

    @property
    def is_shipped(self) -> bool:
        return self.name in POLICIES and self.path == POLICIES[self.name].folder

    def precisions(self) -> tuple[str, ...]:
        """Those it can be exported in, its own first."""
        own = Bundle(self.path).manifest.precision if is_bundle(self.path) else "fp32"
        if own != "fp32":
            return (own,)
        return ("fp32", "fp16", "int8") if self.is_shipped or self.calibration else ("fp32", "fp16")

    def samplers(self) -> Iterator[tuple[str, int]]:
        """(solver, steps) other than trained; none of a bundle, nor of a student, whose head is for its own only."""
        if is_bundle(self.path) or read_checkpoint(paths_from_folder(self.path)).config.distilled_steps:
            return
        for solver, choices in STEPS.items():
            for steps in choices:
                yield solver, steps


SHIPPED = {name: Policy(name, shipped.folder) for name, shipped in POLICIES.items()}


@dataclass(frozen=True)
class Variant:
    """A policy, and how it is exported."""

    policy: Policy = SHIPPED[DEMO]
    options: DemoOptions = field(default_factory=DemoOptions)

    def bundle(self, folder: Path) -> Path:
        """Its bundle: the policy's own, one that lies in `folder`, or one that is exported to it."""
        policy, options = self.policy, self.options
        if policy.is_shipped:
            named = replace(options, policy=policy.name)
            return demo_bundle(folder, named, fresh=False, quiet=False, say=lambda text: None)
        if is_bundle(policy.path) and options.precision == policy.precisions()[0]:
            return policy.path
        target = folder / policy.name / options.folder_name
        if not is_bundle_of(target, self._hashes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._export(folder, target)
        return target

    def _hashes(self) -> dict[str, dict[str, str]]:
        """Of the weights it is made of."""
        path = self.policy.path
        if is_bundle(path):
            return dict(Bundle(path).manifest.provenance["checkpoint_sha256"])
        return checkpoint_hashes(paths_from_folder(path))

    def _export(self, folder: Path, target: Path) -> None:
        name, options = self.policy.name, self.options
        export = ExportOptions(Choices(steps=options.steps, solver=options.solver), overwrite=target.exists())
        if options.precision == "fp32":
            with Progress(name, PROGRESS_STAGES) as progress:
                export_bundle(paths_from_folder(self.policy.path), target, export, progress)
            return
        source = Bundle(replace(self, options=replace(options, precision="fp32")).bundle(folder))
        request = LoweredExport(
            source=source,
            precision=options.precision,
            data=self._data(),
            table=None,
            budget=DEFAULT_BUDGET,
            calibration=DEFAULT_OPTIONS,
            export=export,
        )
        with Progress(name, request.stages()) as progress:
            export_lowered(request, target, progress)

    def _data(self) -> DataOptions | None:
        if self.policy.calibration is None:
            return None
        return DataOptions(
            self.policy.calibration, samples=CALIBRATION_OBSERVATIONS, held_out_samples=HELD_OUT_OBSERVATIONS
        )
