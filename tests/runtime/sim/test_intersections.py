"""Rays hit each shape at its surface, with the outward normal."""

from __future__ import annotations

import numpy as np
import pytest

from vpp_edge.runtime.sim.intersections import SHAPES

SIZES = {
    "sphere": np.array([0.7, 0, 0]),
    "capsule": np.array([0.3, 0.8, 0]),
    "cylinder": np.array([0.5, 0.6, 0]),
    "box": np.array([0.4, 0.5, 0.6]),
    "plane": np.array([1.0, 1.0, 0]),
}


def distance_outside(shape: str, p: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Signed distance of points (n, 3) to the surface, by the textbook formula of each shape."""
    if shape == "sphere":
        return np.linalg.norm(p, axis=1) - size[0]
    if shape == "capsule":
        core = np.stack([0 * p[:, 0], 0 * p[:, 0], np.clip(p[:, 2], -size[1], size[1])], axis=1)
        return np.linalg.norm(p - core, axis=1) - size[0]
    if shape == "cylinder":
        return np.maximum(np.hypot(p[:, 0], p[:, 1]) - size[0], np.abs(p[:, 2]) - size[1])
    if shape == "box":
        return (np.abs(p) - size).max(axis=1)
    return p[:, 2]


@pytest.mark.parametrize("shape", SIZES)
def test_hits_are_on_the_surface_and_nothing_is_in_front_of_them(shape: str) -> None:
    random = np.random.default_rng(0)
    size = SIZES[shape]
    directions = random.normal(size=(2000, 3))
    origins = 3 * random.normal(size=(2000, 3))
    origins = origins / np.linalg.norm(origins, axis=1)[:, None] * 3
    directions = 0.8 * random.uniform(-1, 1, (2000, 3)) - origins
    hit, normals_of = SHAPES[shape]
    t = hit(origins.T, directions.T, size)
    met = np.isfinite(t) & (t > 0)
    assert 0.1 < met.mean() < 0.99
    points = origins[met] + t[met, None] * directions[met]
    np.testing.assert_allclose(distance_outside(shape, points, size), 0, atol=1e-9)
    for share in np.linspace(0.02, 0.98, 25):  # before the hit, and anywhere on a ray that misses
        on_way = origins[met] + share * t[met, None] * directions[met]
        assert (distance_outside(shape, on_way, size) > 0).all() or shape == "plane"
        if shape != "plane":
            assert (distance_outside(shape, origins[~met] + 3 * share * directions[~met], size) > -1e-9).all()
    normals = normals_of(points, size)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert ((normals * directions[met]).sum(axis=1) < 1e-9).all()
    if shape != "plane":
        assert (distance_outside(shape, points + 1e-4 * normals, size) > 0).all()
