"""What is refused of a Ray cluster before any work: addresses, a node without vpp-edge, Ray missing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numbered_work as work
import pytest
from cpu_time import HANGS_S

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.executor import ray_cluster, ray_worker
from vpp_edge.executor.ray_cluster import RayCluster
from vpp_edge.executor.ray_handing import Place


@pytest.mark.parametrize("address", ["", "head", "ray://head:10001", "head:6379:1", "head:port", "he ad:6379"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(BadInputError, match=r"expected HOST:PORT of the cluster's head, or auto"):
        RayCluster(address)


def test_a_missing_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "is_installed", lambda module: False)
    with pytest.raises(MissingDependencyError, match=r"--ray needs ray.*\[ray\]"):
        RayCluster("auto")


@pytest.mark.live
def test_nobody_at_the_address() -> None:
    pytest.importorskip("ray", reason="Ray is not installed; its extra is `ray`")
    with pytest.raises(BadInputError, match=r"--ray 127\.0\.0\.1:1: .*refused.*`ray start"):
        list(RayCluster("127.0.0.1:1").results(work.open_squares, (1,), range(2)))


def test_a_node_without_vpp_edge_says_so() -> None:
    """A Python with Ray but without the packages that are installed by a path file, as this checkout is."""
    ray = pytest.importorskip("ray", reason="Ray is not installed; its extra is `ray`")
    ray.cloudpickle.register_pickle_by_value(ray_worker)
    sent = ray.cloudpickle.dumps(ray_worker.Worker)
    libraries = str(Path(ray.__file__).parents[1])
    script = (
        f"import sys, pickle; sys.path.insert(0, {libraries!r}); sys.modules['vpp_edge'] = None\n"
        f"worker = pickle.loads({sent!r})()\n"
        "sys.stdout.buffer.write(worker.open(b'', 1)[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=HANGS_S, check=True)
    kind, (text, status) = pickle.loads(done.stdout)
    assert kind == "refused" and status == 2
    assert "has no such vpp-edge" in text and text.endswith("install it there")


@pytest.mark.parametrize(
    ("place", "fitting"),
    [
        (Place(1, 0), 4),
        (Place(3, 0), 1),
        (Place(5, 0), 0),
        (Place(1, 3), 3),
        (Place(1, 11), 0),
        (Place(1, 0, gpus=1), 2),
        (Place(1, 0, gpus=3), 0),
    ],
)
def test_workers_fit_a_node_by_what_they_take(place: Place, fitting: int) -> None:
    assert place.fitting({"CPU": 4.0, "memory": 10.0, "GPU": 2.0}) == fitting
    assert place.fitting({"object_store_memory": 10.0}) == 0
