"""Execution providers of ONNX Runtime: the requested one runs or is an error; nothing falls back to the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from vpp_edge import EdgePolicy
from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.runtime.policy.engines.execution_providers import swap_command

INSTALLED = onnxruntime.get_available_providers()
GPU = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
without_gpu_packages = pytest.mark.skipif(
    bool(set(GPU.values()) & set(INSTALLED)), reason="this ONNX Runtime has providers for GPUs"
)


def actions(bundle: Path, provider: str | None) -> np.ndarray:
    policy = EdgePolicy.load(bundle, threads=1, seed=3, provider=provider)
    policy.instruct("turn")
    return policy.infer(np.zeros(policy.spec.frames_shape, np.uint8), np.zeros(19, np.float32)).actions


def test_the_cpu_is_the_default(small_bundle: Path) -> None:
    np.testing.assert_array_equal(actions(small_bundle, "cpu"), actions(small_bundle, None))


@without_gpu_packages
@pytest.mark.parametrize(("provider", "name"), GPU.items())
def test_a_missing_provider_is_an_error_that_names_its_package(small_bundle: Path, provider: str, name: str) -> None:
    with pytest.raises(MissingDependencyError, match=f"provider {provider} needs .*{name}.*onnxruntime-gpu"):
        EdgePolicy.load(small_bundle, provider=provider)


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime with providers that do not start, like that for GPUs on a machine without one."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*GPU.values(), *INSTALLED])


@without_gpu_packages
@pytest.mark.usefixtures("claimed")
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("provider", GPU)
def test_a_provider_that_does_not_start_is_an_error_and_not_the_cpu(small_bundle: Path, provider: str) -> None:
    with pytest.raises(BadInputError, match=f"provider {provider}: {GPU[provider]} is installed but does not start"):
        EdgePolicy.load(small_bundle, provider=provider)


def test_unknown_providers_are_rejected_with_the_known_ones(small_bundle: Path) -> None:
    with pytest.raises(BadInputError, match="unknown provider 'coreml'; expected one of cpu, cuda, tensorrt"):
        EdgePolicy.load(small_bundle, provider="coreml")
    with pytest.raises(BadInputError, match="unknown provider"):
        EngineOptions(provider="CUDAExecutionProvider")


@pytest.mark.parametrize("backend", ["torch", "tensorrt"])
def test_other_backends_have_no_providers(small_bundle: Path, backend: str) -> None:
    with pytest.raises(BadInputError, match=f"'cuda' belongs to ONNX Runtime, but the backend is '{backend}'"):
        EdgePolicy.load(small_bundle, backend, provider="cuda")


@without_gpu_packages
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["profile", "BUNDLE", "--provider", "cuda"], "onnxruntime-gpu"),
        (["profile", "BUNDLE", "--backend", "torch", "--provider", "cuda"], "belongs to ONNX Runtime"),
        (["profile", "BUNDLE", "--provider", "coreml"], "expected one of cpu, cuda, tensorrt"),
    ],
)
def test_commands_end_with_status_2(
    capsys: pytest.CaptureFixture[str], small_bundle: Path, words: list[str], said: str
) -> None:
    assert main([str(small_bundle) if word == "BUNDLE" else word for word in words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("machine", "index"), [("x86_64", False), ("aarch64", True)])
def test_a_jetson_uses_another_package_index(machine: str, index: bool) -> None:
    command = swap_command(machine)
    assert command.startswith("pip uninstall -y onnxruntime && pip install onnxruntime-gpu")
    assert ("--index-url" in command) is index


def test_profile_compares_a_provider_with_another_backend(
    capsys: pytest.CaptureFixture[str], small_bundle: Path
) -> None:
    words = ["--provider", "cpu", "--compare", "torch", "--inferences", "1", "--warmup", "0"]
    assert main(["profile", str(small_bundle), *words]) == 0
    assert "onnxruntime against torch" in capsys.readouterr().out
