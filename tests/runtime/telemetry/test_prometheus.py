"""Counts for Prometheus: local only, in its format, from a process that nobody's questions can bring down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus import samples

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.telemetry.prometheus import check_address, text_of


@pytest.fixture
def channels() -> Iterator[Channels]:
    channels = Channels.create(("static", "wrist"), 8, 10)
    yield channels
    channels.close()


def test_every_count_has_help_and_type_once_and_a_sample_per_view(channels: Channels) -> None:
    channels.loop["ticks"], channels.cameras[1].board["delivered"] = 17, 5
    text = text_of(channels)
    found = samples(text)
    assert found["vpp_edge_control_ticks_total"] == 17
    assert found['vpp_edge_camera_frames_total{view="wrist"}'] == 5
    assert found['vpp_edge_camera_frames_total{view="static"}'] == 0
    names = {name.partition("{")[0] for name in found}
    for word in ("HELP", "TYPE"):
        assert sorted(re.findall(rf"# {word} (\S+) ", text)) == sorted(names)


@pytest.mark.parametrize("text", ["0", "65536", "metrics", "nowhere/at/all.sock", "/tmp/" + 200 * "x"])
def test_an_address_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="--metrics"):
        check_address(text)


def test_a_file_is_not_replaced_by_a_socket(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(BadInputError, match="not a socket"):
        check_address(str(tmp_path / "precious"))
