"""Intersections of rays with primitive shapes, and the surface normals there, in the frame of the shape.

Origins and directions of rays are three coordinate arrays each, which broadcast against each other; directions need not
have unit length. Sizes are MuJoCo's: radius; radius and half length along z; half lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Coordinates = Sequence[np.ndarray]  # x, y, z
Hit = Callable[[Coordinates, Coordinates, np.ndarray], np.ndarray]


def _nearer_root(a: np.ndarray, half_b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The smaller solution t of a t^2 + 2 half_b t + c = 0; inf where there is none."""
    under = half_b * half_b - a * c
    t = (-half_b - np.sqrt(np.maximum(under, 0))) / np.maximum(a, 1e-12)
    return np.where((under >= 0) & (a > 1e-12), t, np.inf)


def _dot(a: Coordinates, b: Coordinates) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def hit_sphere(o: Coordinates, d: Coordinates, size: np.ndarray) -> np.ndarray:
    return _nearer_root(_dot(d, d), _dot(o, d), _dot(o, o) - size[0] ** 2)


def hit_capsule(o: Coordinates, d: Coordinates, size: np.ndarray) -> np.ndarray:
    radius, half = size[0], size[1]
    side = _nearer_root(d[0] ** 2 + d[1] ** 2, o[0] * d[0] + o[1] * d[1], o[0] ** 2 + o[1] ** 2 - radius**2)
    z = o[2] + np.where(np.isfinite(side), side, 0) * d[2]
    caps = [hit_sphere((o[0], o[1], o[2] - end), d, size) for end in (-half, half)]
    return np.minimum(np.where(np.abs(z) <= half, side, np.inf), np.minimum(*caps))


def hit_box(o: Coordinates, d: Coordinates, size: np.ndarray) -> np.ndarray:
    enter, leave = np.float32(-np.inf), np.float32(np.inf)
    for axis in range(3):
        slope = np.where(np.abs(d[axis]) < 1e-9, 1e-9, d[axis])
        one, other = (-size[axis] - o[axis]) / slope, (size[axis] - o[axis]) / slope
        enter, leave = np.maximum(enter, np.minimum(one, other)), np.minimum(leave, np.maximum(one, other))
    return np.where(enter <= leave, enter, np.inf)


def hit_cylinder(o: Coordinates, d: Coordinates, size: np.ndarray) -> np.ndarray:
    radius, half = size[0], size[1]
    side = _nearer_root(d[0] ** 2 + d[1] ** 2, o[0] * d[0] + o[1] * d[1], o[0] ** 2 + o[1] ** 2 - radius**2)
    z = o[2] + np.where(np.isfinite(side), side, 0) * d[2]
    slope = np.where(np.abs(d[2]) < 1e-9, 1e-9, d[2])
    lid = (-np.sign(slope) * half - o[2]) / slope
    on_lid = (o[0] + lid * d[0]) ** 2 + (o[1] + lid * d[1]) ** 2 <= radius**2
    return np.minimum(np.where(np.abs(z) <= half, side, np.inf), np.where(on_lid, lid, np.inf))


def hit_plane(o: Coordinates, d: Coordinates, size: np.ndarray) -> np.ndarray:
    """The plane z = 0, seen from above; a half length of 0 means infinite."""
    t = -o[2] / np.where(d[2] < -1e-9, d[2], -1e-9)
    inside = d[2] < -1e-9
    for axis in (0, 1):
        if size[axis] > 0:
            inside = inside & (np.abs(o[axis] + t * d[axis]) <= size[axis])
    return np.where(inside, t, np.inf)


def normals_sphere(p: np.ndarray, size: np.ndarray) -> np.ndarray:
    return p / size[0]


def normals_capsule(p: np.ndarray, size: np.ndarray) -> np.ndarray:
    normals = p.copy()
    normals[:, 2] -= np.clip(p[:, 2], -size[1], size[1])
    return normals / size[0]


def normals_box(p: np.ndarray, size: np.ndarray) -> np.ndarray:
    face = np.argmax(np.abs(p) / size, axis=1)
    normals = np.zeros_like(p)
    rows = np.arange(len(p))
    normals[rows, face] = np.sign(p[rows, face])
    return normals


def normals_cylinder(p: np.ndarray, size: np.ndarray) -> np.ndarray:
    on_lid = np.abs(p[:, 2]) >= size[1] * (1 - 1e-4)
    normals = p / size[0]
    normals[:, 2] = 0
    normals[on_lid] = 0
    normals[on_lid, 2] = np.sign(p[on_lid, 2])
    return normals


def normals_plane(p: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.tile(np.array([0, 0, 1], p.dtype), (len(p), 1))


SHAPES: dict[str, tuple[Hit, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "plane": (hit_plane, normals_plane),
    "sphere": (hit_sphere, normals_sphere),
    "capsule": (hit_capsule, normals_capsule),
    "cylinder": (hit_cylinder, normals_cylinder),
    "box": (hit_box, normals_box),
}
