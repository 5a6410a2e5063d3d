"""Fixtures that many tests share: the golden policies with their bundles, and a small untrained policy."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import material
import numpy as np
import pytest

from vpp_edge.cli.threads import let_idle_threads_sleep

let_idle_threads_sleep()  # before a test imports torch; tests run beside each other and beside their own children

# A job that a script starts in the background ignores Ctrl-C, and so do its children, which the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW_FIXTURES = {"golden", "golden_bundles", "small_bundle", "approximate_bundle", "int8_bundle", "fp16_bundle"}
SMALL_SIZES = material.ROOT / "tests" / "support" / "small_policy.py"
SLOW_TIMEOUT_S = 3600  # several exports, one after the other, on a machine with ten other jobs


LEFT_TO_TEST_ALL = {"approximate_bundle", "int8_bundle"}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first pays for the exports, so every one that may gets the time."""
    for item in items:
        if LEFT_TO_TEST_ALL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S), append=False)  # before one of the test's own


@pytest.fixture(scope="session", params=material.GOLDEN_NAMES)
def golden(request: pytest.FixtureRequest) -> material.Golden:
    name = request.param
    folder = material.GOLDEN / name
    if not (folder / "io.npz").is_file():
        pytest.skip(f"no golden outputs at {folder}; they are kept beside the repository")
    with np.load(folder / "io.npz") as file:
        arrays = {n: file[n] for n in file.files}
    spec = json.loads((folder / "spec.json").read_text())
    return material.Golden(name, material.golden_checkpoint(name), spec, arrays)


@pytest.fixture(scope="session")
def golden_bundles() -> dict[str, Path]:
    """Bundle of every golden policy, by name; made side by side, because tracing keeps one core busy only."""
    if not material.GOLDEN.is_dir():
        pytest.skip(f"no golden policies at {material.GOLDEN}; they are kept beside the repository")
    with ThreadPoolExecutor(len(material.GOLDEN_NAMES)) as pool:
        return dict(zip(material.GOLDEN_NAMES, pool.map(material.golden_bundle, material.GOLDEN_NAMES), strict=True))


@pytest.fixture(scope="session")
def golden_bundle(golden: material.Golden, golden_bundles: dict[str, Path]) -> Path:
    return golden_bundles[golden.name]


@pytest.fixture(scope="session")
def small_checkpoint() -> Path:
    """An untrained xhand policy, as small as the format allows. Read only; `small_copy` may be changed."""
    from small_policy import SMALL

    from vpp_edge.checkpoint.untrained import write_untrained_checkpoint

    key = material.key_of([material.ROOT / "vpp_edge" / "checkpoint", SMALL_SIZES])
    return material.made_once("small", key, lambda folder: write_untrained_checkpoint(folder, SMALL))


@pytest.fixture(scope="session")
def tiny_vae_checkpoint() -> Path:
    """The same with an AutoencoderTiny as its image encoder. Read only."""
    from small_policy import TINY_VAE

    from vpp_edge.checkpoint.untrained import write_untrained_checkpoint

    key = material.key_of([material.ROOT / "vpp_edge" / "checkpoint", SMALL_SIZES])
    return material.made_once("tiny-vae", key, lambda folder: write_untrained_checkpoint(folder, TINY_VAE))


@pytest.fixture(scope="session")
def small_bundle(small_checkpoint: Path) -> Path:
    """Its bundle. Read only."""
    key = material.key_of([*material.sources_of_a_bundle(), material.UNTRAINED, SMALL_SIZES])
    return material.made_once("small-bundle", key, lambda folder: material.export_by_command(small_checkpoint, folder))


@pytest.fixture(scope="session")
def approximate_bundle(small_checkpoint: Path) -> Path:
    """The same policy at other settings than it was trained with. Read only."""
    options = ("--steps", "4", "--solver", "dpmpp_2m", "--frames", "8")
    key = material.key_of([*material.sources_of_a_bundle(), material.UNTRAINED, SMALL_SIZES])
    return material.made_once(
        "small-approximate", key, lambda folder: material.export_by_command(small_checkpoint, folder, *options)
    )


@pytest.fixture(scope="session")
def robot_recordings() -> Path:
    """Three short recordings `0`, `1` and `2` that fit the small policy. Read only."""
    from robot_recordings import write_recordings

    source = material.ROOT / "tests" / "support" / "robot_recordings.py"
    return material.made_once("recordings", material.key_of([source]), lambda folder: write_recordings(folder, 3))


@pytest.fixture(scope="session")
def fp16_bundle(small_bundle: Path) -> Path:
    """The small policy in FP16. Read only."""
    key = material.key_of([*material.sources_of_low_precision(), *small_bundle.glob("*.json")])
    return material.made_once(
        "small-fp16", key, lambda folder: material.export_by_command(small_bundle, folder, "--precision", "fp16")
    )


@pytest.fixture(scope="session")
def int8_bundle(small_bundle: Path, robot_recordings: Path) -> Path:
    """The small policy in INT8, everything that can be; sensitivities would take most of a minute. Read only."""
    options = ("--precision", "int8", "--calibration", robot_recordings, "--samples", 2, "--held-out-samples", 1,
               "--sensitivity-samples", 0, "--budget", 0.2)  # fmt: skip
    key = material.key_of(
        [*material.sources_of_low_precision(), *small_bundle.glob("*.json"), *robot_recordings.rglob("*.json")]
    )
    return material.made_once(
        "small-int8", key, lambda folder: material.export_by_command(small_bundle, folder, *map(str, options))
    )


@pytest.fixture
def int8_copy(int8_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the small INT8 bundle, to be changed."""
    return Path(shutil.copytree(int8_bundle, tmp_path / "int8"))


@pytest.fixture
def small_copy(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the small checkpoint, to be changed."""
    return Path(shutil.copytree(small_checkpoint, tmp_path / "checkpoint"))


@pytest.fixture
def bundle_copy(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the small bundle, to be changed."""
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


@pytest.fixture
def traced_before(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes most of an export and is the same every time; all else is real, the parity check included."""
    from vpp_edge.export import exporter
    from vpp_edge.export.stages import Stage

    def copy_graph(stage: Stage, folder: Path) -> tuple[Path, Path]:
        for suffix in (".onnx", ".onnx.data"):
            shutil.copyfile(small_bundle / "onnx" / (stage.name + suffix), folder / (stage.name + suffix))
        return folder / f"{stage.name}.onnx", folder / f"{stage.name}.onnx.data"

    monkeypatch.setattr(exporter, "write_onnx", copy_graph)
