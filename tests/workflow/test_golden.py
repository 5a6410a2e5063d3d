"""FP16 of a golden policy against what the reference implementation computed, not against our own float32."""

from __future__ import annotations

from pathlib import Path

import pytest
from material import GOLDEN

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.export.samples import random_samples
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.verification.verify import verify_golden
from vpp_edge.workflow.lowering import LoweringOptions, lower_bundle


@pytest.mark.slow
def test_fp16_acts_like_the_reference(golden_bundles: dict[str, Path], tmp_path: Path) -> None:
    source = Bundle(golden_bundles["xhand-tiny"])
    samples = random_samples(source.manifest.policy, 1, seed=3)
    manifest = lower_bundle(source, tmp_path / "fp16", samples, LoweringOptions("fp16"))
    assert {s.precision for s in manifest.stages.values()} == {"fp16"}
    checks = verify_golden(EdgePolicy.load(tmp_path / "fp16"), GOLDEN / "xhand-tiny" / "io.npz")
    assert {c.tensor for c in checks} == {"text_hidden", "goal", "tokens", "actions"}
    for check in checks:
        assert check.errors.max_relative <= 5e-3, check
