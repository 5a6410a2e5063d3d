"""Images of the simulation show the state of the hand, and agree with and without GL."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from cpu_time import HANGS_S

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.runtime.sim.model import CLOSED_RAD
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.scene import BUTTONS_NAMED
from vpp_edge.runtime.sim.task import START
from vpp_edge.runtime.sim.view_names import POLICY_VIEWS, VIEWS

if importlib.util.find_spec("mujoco") is None:  # importing it here would prevent the choice of EGL
    pytest.skip("the simulation needs MuJoCo", allow_module_level=True)

WIDTH, HEIGHT = 96, 72
STATE = np.array(START)
CLOSED = np.array((*START[:7], *CLOSED_RAD))
LOW = np.array((0.48, 0.0, 0.20, *START[3:]))


@pytest.fixture(scope="module")
def software():
    with SimRenderer(WIDTH, HEIGHT, kind="software") as renderer:
        yield renderer


@pytest.fixture(scope="module")
def gl():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL") or "egl")  # on a CPU too, if necessary
        renderer = SimRenderer(WIDTH, HEIGHT)
    with renderer:
        if renderer.kind == "software":
            pytest.skip(f"no GL on this machine: {renderer.note}")
        yield renderer


@pytest.fixture(params=["software", "gl"])
def renderer(request: pytest.FixtureRequest) -> SimRenderer:
    return request.getfixturevalue(request.param)


def red(image: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(image.astype(int), 2, 0)
    return (r > 2 * g) & (r > 2 * b) & (r > 80)


def yellow(image: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(image.astype(int), 2, 0)
    return (r > 2 * b) & (g > 1.6 * b) & (r > 80)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h, w): the largest difference among the channels."""
    return np.abs(a.astype(int) - b.astype(int)).max(axis=2)


def test_an_image_is_rgb_of_the_requested_size_and_not_empty(renderer: SimRenderer) -> None:
    for view in VIEWS:
        image = renderer.render(view, STATE)
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert image.std() > 15, view


def test_the_views_differ(renderer: SimRenderer) -> None:
    images = [renderer.render(view, STATE) for view in VIEWS]
    for i in range(len(VIEWS)):
        for j in range(i):
            assert (difference(images[i], images[j]) > 20).mean() > 0.2


@pytest.mark.parametrize("view", POLICY_VIEWS)
def test_fingers_and_wrist_change_the_image(renderer: SimRenderer, view: str) -> None:
    image = renderer.render(view, STATE)
    assert (difference(image, renderer.render(view, CLOSED)) > 20).sum() > 0.005 * WIDTH * HEIGHT
    assert (difference(image, renderer.render(view, LOW)) > 20).sum() > 0.05 * WIDTH * HEIGHT


def test_an_image_depends_only_on_the_state(renderer: SimRenderer) -> None:
    first = renderer.render("top", STATE)
    kept = first.copy()
    renderer.render("side", CLOSED)
    np.testing.assert_array_equal(first, kept)  # images are not overwritten later
    np.testing.assert_array_equal(renderer.render("top", STATE), first)


@pytest.mark.parametrize("state", [STATE, CLOSED, LOW], ids=["home", "closed", "low"])
@pytest.mark.parametrize("view", VIEWS)
def test_both_renderers_agree(gl: SimRenderer, software: SimRenderer, view: str, state: np.ndarray) -> None:
    apart = difference(gl.render(view, state), software.render(view, state))
    assert np.mean(apart) < 8 and np.mean(apart > 30) < 0.08  # edges, which GL smooths, and borders of shadows


STANDING = (0, 0, 0)  # angle and speed of the plate, and the kind of world
SCENES = [
    (1, 0, 0, 0, 0, *STANDING),
    (1, 0.008, 0, 0, 0.01, *STANDING),
    (2, 0, 0, 0, 0, *STANDING),
    (3, 0, 0.009, 0, 0, *STANDING),
]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("view", POLICY_VIEWS)
def test_both_renderers_agree_on_buttons(gl: SimRenderer, software: SimRenderer, view: str, scene: tuple) -> None:
    drawn, cast = (renderer.render(view, STATE, np.array(scene)) for renderer in (gl, software))
    apart = difference(drawn, cast)
    assert np.mean(apart) < 8 and np.mean(apart > 30) < 0.08
    for colour in (red, yellow):
        (one, other), pixels = (np.argwhere(colour(image)) for image in (drawn, cast)), colour(cast).sum()
        assert len(one) > 8 and abs(len(one) - pixels) < 0.3 * pixels
        np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.7)


TURNING = [(1, 0, 0, 0.008, 0, 0.0, 1.5, 1), (2, 0, 0, 0, 0, 2.0, -1.2, 1), (3, 0, 0, 0, 0, 0, 0, 2)]


@pytest.mark.parametrize("scene", TURNING)
@pytest.mark.parametrize("view", POLICY_VIEWS)
def test_both_renderers_agree_on_the_other_worlds(
    gl: SimRenderer, software: SimRenderer, view: str, scene: tuple
) -> None:
    apart = difference(*(renderer.render(view, STATE, np.array(scene)) for renderer in (gl, software)))
    assert np.mean(apart) < 8 and np.mean(apart > 30) < 0.08


@pytest.mark.parametrize("view", POLICY_VIEWS)
def test_one_image_of_a_turntable_shows_where_it_is_and_how_it_turns(renderer: SimRenderer, view: str) -> None:
    def image(angle_rad: float, speed_rad_s: float) -> np.ndarray:
        return renderer.render(view, STATE, np.array((5, 0, 0, 0, 0, angle_rad, speed_rad_s, 1)))

    left, slower, right = image(0.3, 1.6), image(0.3, 1.2), image(0.3, -1.6)
    lamp = difference(left, right) > 100
    assert lamp.sum() > 0.02 * WIDTH * HEIGHT
    green, blue = left[lamp][:, 1].mean(), left[lamp][:, 2].mean()
    assert min(green, blue) > left[lamp][:, 0].mean() + 50, "cyan"
    assert right[lamp][:, 1].mean() < min(right[lamp][:, 0].mean(), right[lamp][:, 2].mean()) - 50, "magenta"
    assert slower[lamp][:, 0].mean() > left[lamp][:, 0].mean() + 20, "paler"
    turned = difference(left, image(1.1, 1.6)) > 20
    assert turned.sum() > 8 and not (turned & lamp).sum() > 0.2 * lamp.sum()
    np.testing.assert_array_equal(image(0.3, 1.6), left)


@pytest.mark.parametrize("button", range(4))
def test_a_pressed_button_appears_lower(renderer: SimRenderer, button: int) -> None:
    up, down = np.array(SCENES[0], float), np.array(SCENES[0], float)
    down[1 + button] = 0.008
    changed = difference(renderer.render("side", STATE, up), renderer.render("side", STATE, down)) > 20
    assert 3 < changed.sum() < 0.03 * WIDTH * HEIGHT, "a button and its shadow, and nothing else"


def test_an_episode_has_its_own_buttons_light_and_cameras(renderer: SimRenderer) -> None:
    images = [renderer.render("top", STATE, np.array((seed, 0, 0, 0, 0, *STANDING))) for seed in (1, 2, 1)]
    assert (difference(images[0], images[1]) > 20).mean() > 0.02
    np.testing.assert_array_equal(images[0], images[2])
    nominal = renderer.render("top", STATE)
    assert (difference(images[2], nominal) > 20).mean() > 0.02
    np.testing.assert_array_equal(renderer.render("top", STATE, None), nominal)


@pytest.mark.parametrize("view", VIEWS)
def test_both_renderers_give_the_hand_the_same_outline(gl: SimRenderer, software: SimRenderer, view: str) -> None:
    gl.render(view, LOW)
    gl._gl.enable_segmentation_rendering()
    try:
        gl._gl.update_scene(gl._data, view)
        drawn = gl._gl.render()[:, :, 0]
    finally:
        gl._gl.disable_segmentation_rendering()
    software.render(view, LOW)
    cast = software._software.layer(software._data, view).ids[::2, ::2]
    first, end = (
        software._model.body(name).geomadr[0] for name in ("wrist", BUTTONS_NAMED[0])
    )  # those of the hand are in between
    one, other = ((first <= ids) & (ids < end) for ids in (drawn, cast))
    assert (one & other).sum() > 0.85 * (one | other).sum()
    assert (drawn == cast).mean() > 0.95


def test_the_hand_appears_where_the_camera_geometry_says(software: SimRenderer) -> None:
    data, model = software._data, software._model
    software.render("side", STATE)
    layer = software._software.layer(data, "side")
    camera = model.camera("side").id
    tip = model.body("index_tip").geomadr[0] + 1
    x, y, z = (data.geom_xpos[tip] - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
    height, width = layer.ids.shape
    focal = height / 2 / np.tan(np.radians(model.cam_fovy[camera]) / 2)
    row, column = int(height / 2 + focal * y / z), int(width / 2 - focal * x / z)
    assert tip in layer.ids[row - 1 : row + 2, column - 1 : column + 2]


@pytest.mark.parametrize(
    ("view", "state"),
    [("front", STATE), ("top", np.zeros(18)), ("top", np.full(19, np.nan)), ("top", np.full(19, np.inf))],
)
def test_invalid_views_and_states_are_rejected(software: SimRenderer, view: str, state: np.ndarray) -> None:
    with pytest.raises(BadInputError, match=r"expected|there are"):
        software.render(view, state)


@pytest.mark.parametrize(
    "scene", [np.zeros(7), np.full(8, np.nan), np.zeros((8, 1)), np.full(8, 3.0), np.full(8, -1.0)]
)
def test_an_invalid_scene_is_rejected(software: SimRenderer, scene: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="scene"):
        software.render("top", STATE, scene)


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (10, 100_000)])
def test_impossible_sizes_are_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(BadInputError, match="pixels"):
        SimRenderer(*size)


def test_a_closed_renderer_is_reported_and_close_may_be_called_twice() -> None:
    renderer = SimRenderer(16, 12, kind="software")
    renderer.close()
    renderer.close()
    with pytest.raises(BadInputError, match="closed"):
        renderer.render("top", STATE)


def test_ten_images_per_second_without_gl() -> None:
    with SimRenderer(160, 120, kind="software") as renderer:
        renderer.render("top", STATE)
        took = []
        for _ in range(10):
            begin = time.thread_time()
            renderer.render("top", STATE)
            took.append(time.thread_time() - begin)
    assert np.median(took) < 0.1, f"{np.median(took) * 1e3:.0f} ms of processor time per image"


CHILD = """
import ctypes, os, sys
load = ctypes.CDLL
def refuse(name, *args, **kwargs):
    if name and any(part in str(name) for part in sys.argv[1].split(",")):
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")
    return load(name, *args, **kwargs)
ctypes.CDLL = refuse
from vpp_edge.runtime.sim.task import START
from vpp_edge.runtime.sim.renderer import SimRenderer
assert "mujoco" not in sys.modules
before = os.environ.get("MUJOCO_GL")
with SimRenderer(32, 24) as renderer:
    print(renderer.kind, renderer.render("side", START).std() > 10, renderer.note)
assert os.environ.get("MUJOCO_GL") == before
"""


@pytest.mark.parametrize(
    ("missing", "choice"),
    [("EGL,OSMesa", None), ("EGL,OSMesa", "egl"), ("EGL,OSMesa", "osmesa"), ("nothing", "disable")],
)
def test_without_gl_it_still_renders(missing: str, choice: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    if choice is not None:
        environment["MUJOCO_GL"] = choice
    child = subprocess.run(
        [sys.executable, "-c", CHILD, missing],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("software True")


def test_an_unknown_gl_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "banana")
    with pytest.raises(BadInputError, match=r"MUJOCO_GL=banana.*egl"):
        SimRenderer(16, 12)


def test_without_mujoco_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("sim"))):
        SimRenderer(16, 12)


DRIVER = """
import sys
from vpp_edge.runtime.sim.task import START
from vpp_edge.runtime.sim import renderer
from vpp_edge.runtime.sim.renderer import SimRenderer
renderer.software_driver = lambda: sys.argv[1]
with SimRenderer(32, 24) as opened:
    print(opened.kind, opened.render("side", START).std() > 10, opened.note)
"""


@pytest.mark.parametrize(
    ("driver", "choice", "kind"), [("llvmpipe", "", "software"), ("llvmpipe", "egl", "egl"), ("", "", "egl")]
)
def test_gl_without_a_gpu_is_used_only_when_chosen(gl: SimRenderer, driver: str, choice: str, kind: str) -> None:
    if gl.kind != "egl":
        pytest.skip(f"needs EGL; GL is {gl.kind} here")
    child = subprocess.run(
        [sys.executable, "-c", DRIVER, driver],
        env={**os.environ, "MUJOCO_GL": choice},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith(f"{kind} True")
    assert ("llvmpipe" in child.stdout) == (kind == "software")
