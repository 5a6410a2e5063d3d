"""What a distillation takes is refused, with the numbers, before it is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.plan import check_room

GIB = 2**30


@pytest.fixture(autouse=True)
def two_gib_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=2 * GIB))


def test_the_outputs_must_fit_on_the_disk(tmp_path: Path) -> None:
    check_room(tmp_path / "new", 2 * GIB, limit_gib=100)
    with pytest.raises(BadInputError, match=r"take 3\.00 GiB, 0\.00 GiB are there already, 2\.00 GiB are free; use"):
        check_room(tmp_path / "new", 3 * GIB, limit_gib=100)
    with pytest.raises(BadInputError, match=r"take 2\.00 GiB; .* allow it with --disk-limit 2"):
        check_room(tmp_path / "new", 2 * GIB, limit_gib=1)


def test_what_an_interrupted_run_kept_is_not_taken_twice(tmp_path: Path) -> None:
    kept = tmp_path / "sweep" / "teacher-1"
    kept.mkdir(parents=True)
    with (kept / "teacher-00000.safetensors").open("wb") as file:
        file.truncate(GIB)
    check_room(kept, 3 * GIB, limit_gib=100)
    with pytest.raises(BadInputError, match=r"take 4\.00 GiB, 1\.00 GiB are there already"):
        check_room(kept, 4 * GIB, limit_gib=100)
