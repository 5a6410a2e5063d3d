"""The operations without running them: folders, required cases, counted traffic, rejected inputs."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

from vpp_edge.bundle.tolerances import KERNEL_LIMITS
from vpp_edge.errors import BadInputError
from vpp_edge.kernels.catalogue import OPERATIONS, kernel_module, load_operation
from vpp_edge.kernels.operation import TensorFactory
from vpp_edge.kernels.traffic import TrafficCounter, traffic_of

FOLDER = Path(__file__).resolve().parents[2] / "kernels"
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install -e '.[kernels]'"
)


def test_every_folder_is_a_kernel_of_the_catalogue() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/kernel.py")} == set(OPERATIONS)
    for name in OPERATIONS:
        assert {"reference.py", "kernel.py", "cases.py"} <= {path.name for path in (FOLDER / name).iterdir()}
        assert load_operation(name).name == name and name in KERNEL_LIMITS


def test_only_kernels_and_the_compiler_import_triton() -> None:
    importing = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if "triton" in names:
                importing.add(path.name)
    assert importing == {"kernel.py", "rounding.py"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kernel_has_full_size_prime_one_and_past_a_power_cases(name: str) -> None:
    cases = load_operation(name).cases
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert any(not case.interpreted for case in cases)
    assert "primes" in names
    assert any(n.startswith("one-") for n in names)
    assert any("past-a" in n for n in names)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_floor_is_below_what_eager_code_moves(name: str) -> None:
    operation = load_operation(name)
    for case in operation.cases:
        traffic = traffic_of(operation, case)
        assert 0 < traffic.floor_bytes <= traffic.eager_bytes, case.name


def test_the_floor_of_temporal_attention_is_four_tensors_and_eager_code_moves_twelve() -> None:
    operation = load_operation("temporal_attention")
    traffic = traffic_of(operation, operation.case("unet-32x32"))
    tensor = 2 * 16 * 1024 * 320 * 2
    assert (traffic.read_bytes, traffic.written_bytes) == (3 * tensor, tensor)
    assert (traffic.eager_bytes, traffic.eager_kernels) == (12 * tensor, 5)  # three copies, attention, copy back
    assert traffic.operations == 2 * 2 * (2 * 1024 * 5 * 16 * 16 * 64)
    assert traffic.floor_s(1e9, 1e15) == pytest.approx(4 * tensor / 1e9)
    assert traffic.floor_s(1e15, 1e9) == pytest.approx(traffic.operations / 1e9)


def test_views_are_free_and_copies_are_counted_twice() -> None:
    x = torch.empty(4, 6, dtype=torch.float16, device="meta")
    with TrafficCounter() as counter:
        y = x.t().unsqueeze(0)
    assert (counter.bytes, counter.kernels) == (0, 0)
    with TrafficCounter() as counter:
        y.reshape(24)
    assert (counter.bytes, counter.kernels) == (2 * 48, 1)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="expected one of temporal_attention"):
        load_operation("rotary")
    with pytest.raises(BadInputError, match="it has unet-32x32"):
        load_operation("geglu").case("none")


def test_inputs_depend_on_the_seed() -> None:
    geglu = load_operation("geglu")
    first, again, other = (geglu.inputs(geglu.case("primes").sizes, TensorFactory("cpu", s))["gate"] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


WRONG = {
    "temporal_attention": {
        "key": lambda x: x[:, :-1],
        "value": lambda x: x.float(),
        "query": lambda x: x.transpose(3, 4),
    },
    "spatial_attention": {"key": lambda x: x[:1], "value": lambda x: x.double(), "query": lambda x: x[0]},
    "text_attention": {"keys": lambda x: x[:-1], "tokens": lambda x: x.float()},
    "perceiver_attention": {"features": lambda x: x[:, :, :-1], "own_scores": lambda x: x.float()},
    "group_norm_silu": {"weight": lambda x: x[:-1], "shift": lambda x: x.t(), "x": lambda x: x[0]},
    "residual_layer_norm": {"update": lambda x: x[:1], "positions": lambda x: x[:-1], "bias": lambda x: None},
    "geglu": {"gate": lambda x: x[:, :-1], "value": lambda x: x.t().contiguous().t()},
}
EVERY = [(name, argument) for name, changes in WRONG.items() for argument in changes]


@needs_triton
@pytest.mark.parametrize(("name", "argument"), EVERY, ids=[f"{n}-{a}" for n, a in EVERY])
def test_wrong_inputs_are_rejected_before_the_launch(name: str, argument: str) -> None:
    operation, module = load_operation(name), kernel_module(name)
    inputs = operation.inputs(operation.case("primes").sizes, TensorFactory("meta"))
    out = module.outputs(**inputs)
    assert module.launches(out, **inputs)
    with pytest.raises(BadInputError, match="expected"):
        module.launches(out, **inputs | {argument: WRONG[name][argument](inputs[argument])})
