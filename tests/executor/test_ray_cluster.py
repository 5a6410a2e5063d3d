"""Work on a Ray cluster of two nodes on this machine: results, losses of workers and of a node, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numbered_work as work
import numpy as np
import pytest
from cpu_time import HANGS_S

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.errors import BadInputError, VppEdgeError
from vpp_edge.executor import ray_order
from vpp_edge.executor.interface import Executor, Needs
from vpp_edge.executor.processes import Processes
from vpp_edge.executor.ray_cluster import RayCluster

pytestmark = [pytest.mark.live, pytest.mark.slow]  # a cluster takes many seconds to start

STORE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose head is one node with two places for workers; a test can add others."""
    pytest.importorskip("ray", reason="Ray is not installed; its extra is `ray`")
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray keeps sockets in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(work.__file__).parent))  # of the workers
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def second_node(cluster: Any) -> Iterator[Any]:
    node = cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def ray(cluster: Any, notes: list[str]) -> RayCluster:
    return RayCluster(cluster.address, note=notes.append)


def test_every_piece_is_done_once_with_one_thread_for_numbers(ray: RayCluster, second_node: Any) -> None:
    assert sorted(ray.results(work.open_squares, (10,), range(3, 12))) == [(n, n * n + 10) for n in range(3, 12)]
    assert dict(ray.results(work.open_environment, ("OMP_NUM_THREADS",), [0])) == {0: "1"}
    assert not list(ray.results(work.open_squares, (10,), []))


def test_a_worker_sees_only_the_gpus_that_it_was_given(cluster: Any) -> None:
    """The node only says that it has one, which is all that placing needs."""
    given = RayCluster(cluster.address, gpus=1)
    with pytest.raises(BadInputError, match="no node of the cluster has 1 CPU and 1 GPU for a worker"):
        list(given.results(work.open_squares, (1,), [0]))
    node = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES)
    try:
        assert dict(given.results(work.open_environment, ("CUDA_VISIBLE_DEVICES",), [0])) == {0: "0"}
    finally:
        cluster.remove_node(node, allow_graceful=False)


def test_a_lost_node_costs_only_its_pieces(cluster: Any, ray: RayCluster, second_node: Any, notes: list[str]) -> None:
    """Four workers: each of the two on the node that is killed was doing a piece, which is done again on the other."""
    results = ray.results(work.open_sleeping, (2.0,), range(9))
    found = [next(results)]
    while len(found) < 3:  # now the workers of both nodes are at work
        found.append(next(results))
    cluster.remove_node(second_node, allow_graceful=False)
    found += results
    assert sorted(found) == [(n, None) for n in range(9)]
    assert notes and all("another one takes over" in note for note in notes)


def test_a_piece_whose_worker_was_killed_is_done_again(ray: RayCluster, notes: list[str], tmp_path: Path) -> None:
    found = sorted(ray.results(work.open_killed_once, (tmp_path / "killed",), range(6)))
    assert found == [(n, n * n) for n in range(6)]
    assert len(notes) == 1 and "was lost in piece 2 (" in notes[0]


@pytest.mark.parametrize(
    ("open_work", "kind", "message"),
    [
        (work.open_refused, BadInputError, r"^no such thing$"),
        (work.open_failing, VppEdgeError, r"(?s)Traceback.*ZeroDivisionError"),
        (work.open_killed, VppEdgeError, r"was lost in piece 0 \(.*, as 2 before it; the work is incomplete"),
    ],
)
def test_work_that_fails_ends_with_its_reason(
    ray: RayCluster, open_work: Callable, kind: type[VppEdgeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        list(ray.results(open_work, (), range(1)))


def test_a_caller_that_stops_reading_leaves_no_worker(ray: RayCluster) -> None:
    results = ray.results(work.open_process_id, (60.0,), range(4))
    _, pid = next(results)
    results.close()
    for _ in range(600):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"the worker {pid} still runs")


def test_a_node_with_other_versions_is_refused(ray: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_order, "versions", lambda: {"vpp-edge": "9.9.9"})
    with pytest.raises(BadInputError, match=r"^node \S+ has vpp-edge \S+, this machine 9\.9\.9; install the same"):
        list(ray.results(work.open_squares, (1,), range(2)))


def test_a_worker_that_fits_no_node_is_refused(ray: RayCluster) -> None:
    with pytest.raises(BadInputError, match=r"no node of the cluster has 1 CPU and 1024\.0 GiB for a worker"):
        list(ray.results(work.open_squares, (1,), range(2), Needs(memory_bytes=2**40)))


def test_episodes_are_those_of_processes(ray: RayCluster, second_node: Any, small_bundle: Path) -> None:
    from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate
    from vpp_edge.workflow.closed_loop.players import PlayerChoice

    def played(executor: Executor) -> list[Any]:
        results = evaluate(PlayerChoice(str(small_bundle)), EvalSettings(episodes=4, time_limit_s=0.4), executor)
        return [(r.seed, r.verdict, r.seconds, r.jerks.tobytes(), r.seams.tobytes()) for r in results]

    assert played(ray) == played(Processes(1)) == played(Processes(2))


def test_a_student_is_that_of_processes(
    ray: RayCluster, second_node: Any, small_checkpoint: Path, robot_recordings: Path, tmp_path: Path
) -> None:
    """17 observations are two shards; the rest of the distillation is the same process's in both cases."""
    from vpp_edge.cli.main import main

    words = ["distill", str(small_checkpoint), "--data", str(robot_recordings), "--quiet"]
    words += ["--observations", "17", "--held-out-samples", "1", "--head-training-steps", "1"]
    for name, where in (("ray", ["--ray", ray.address]), ("here", ["--processes", "1"])):
        assert main([*words, "-o", str(tmp_path / name), *where]) == 0
    one, other = (load_policy_file(paths_from_folder(tmp_path / name).policy) for name in ("ray", "here"))
    assert one.arguments["distilled"] == other.arguments["distilled"]
    assert all(np.array_equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def test_layers_have_the_errors_that_processes_find(
    ray: RayCluster,
    second_node: Any,
    small_bundle: Path,
    robot_recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first four of each stage."""
    from vpp_edge.cli.main import main
    from vpp_edge.workflow import sensitivities

    by_layer = sensitivities.nodes_by_layer
    monkeypatch.setattr(sensitivities, "nodes_by_layer", lambda products: dict(islice(by_layer(products).items(), 4)))
    words = ["calibrate", str(small_bundle), str(robot_recordings), "--samples", "1", "--method", "max", "--quiet"]
    for name, where in (("ray", ["--ray", ray.address]), ("here", ["--processes", "1"])):
        assert main([*words, "-o", str(tmp_path / name), *where]) == 0
    tables = [json.loads((tmp_path / name).read_text()) for name in ("ray", "here")]
    assert tables[0] == tables[1] and len(tables[0]["stages"]["perceive"]["sensitivity"]) == 4


def test_the_command_prints_its_result_and_nothing_of_ray(ray: RayCluster, small_bundle: Path, tmp_path: Path) -> None:
    words = ["eval", str(small_bundle), "--episodes", "2", "--time-limit", "0.4", "--json", "--quiet"]
    command = [str(Path(sys.executable).with_name("vpp-edge")), *words]
    printed = [
        subprocess.run(
            [*command, *where], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_S, check=True
        ).stdout
        for where in (["--ray", ray.address], ["--processes", "1"])
    ]
    on_ray, here = (json.loads(text) for text in printed)
    assert on_ray["outcomes"] == here["outcomes"] and len(on_ray["outcomes"]) == 2
