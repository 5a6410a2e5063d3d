"""The policy that ships with the package: the content of its folder, and that it does what the demo claims."""

from __future__ import annotations

from pathlib import Path

import material
import pytest

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.demo.bundle import DemoOptions, demo_bundle
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.runtime.policy.handover_modes import NAIVE, RTC
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate
from vpp_edge.workflow.closed_loop.players import PlayerChoice
from vpp_edge.workflow.closed_loop.summary import summary_of

pytestmark = pytest.mark.live

LARGEST_BYTES = 16_000_000
SEED = 990  # docs/closed-loop.md has results of others

SHIPPED = POLICIES[DEMO].folder


def test_it_is_small_has_a_model_card_and_no_pickle() -> None:
    weights = set(SHIPPED.rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= LARGEST_BYTES
    others = {path.suffix for path in SHIPPED.rglob("*") if path.is_file() and path not in weights}
    assert others <= {".json", ".md", ".txt"}
    assert not [path for path in SHIPPED.rglob("*.json") if "_name_or_path" in path.read_text(encoding="utf-8")]
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert all(heading in card for heading in ("## Data", "## Training", "## Results", "## Limits"))


def test_it_is_read_like_every_checkpoint() -> None:
    spec = read_checkpoint(paths_from_folder(SHIPPED)).spec
    assert (len(spec.cameras), spec.action.dims) == (2, 18)


@pytest.fixture(scope="module")
def shipped_bundle() -> str:
    sources = [*material.sources_of_a_bundle(), *(path for path in SHIPPED.rglob("*") if path.is_file())]

    def make(folder: Path) -> None:
        demo_bundle(folder, DemoOptions(), fresh=True, quiet=True)

    return str(material.made_once("shipped", material.key_of(sources), make) / DemoOptions().folder_name)


@pytest.mark.slow
def test_it_presses_the_requested_button(shipped_bundle: str) -> None:
    played = summary_of(evaluate(PlayerChoice(shipped_bundle), EvalSettings(episodes=12, seed=SEED)))
    assert played.rate.successes >= 9 and played.rate.episodes == 12


@pytest.mark.slow
def test_real_time_chunking_makes_chunks_agree_and_commands_smoother(shipped_bundle: str) -> None:
    naive, guided = (
        summary_of(
            evaluate(PlayerChoice(shipped_bundle), EvalSettings(4, SEED, delay_ns=100_000_000, chunking=chunking))
        )
        for chunking in (NAIVE, RTC)
    )
    assert guided.rate.successes == naive.rate.successes == 4
    assert 5 * guided.seam_wrist_m.mean <= naive.seam_wrist_m.mean
    assert 5 * guided.seam_joint_rad.mean <= naive.seam_joint_rad.mean
    assert guided.wrist_jerk_m_s3.mean < naive.wrist_jerk_m_s3.mean
