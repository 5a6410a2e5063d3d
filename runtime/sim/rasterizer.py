"""Renders a MuJoCo scene without a GL library, with shading and shadows.

Rays are cast through the pixels of each shape's bounding rectangle. Geometry that cannot move is rendered once per
fixed camera. Lighting follows MuJoCo: ambient light and headlight everywhere, the first light where it is not
occluded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.sim.intersections import SHAPES

SHADOW_BIAS_M = 0.003
Rectangle = tuple[slice, slice]  # rows and columns


@dataclass
class Layer:
    """Values of every pixel; float32 except `ids`.

    Attributes:
        depth: (h, w), along the ray.
        ids: (h, w) int32, of the geom; -1 where there is none.
        light_uvw: (3, h, w), position of the point in the frame of the light.
        shade: (h, w, 3), its colour in shadow.
        light: (h, w, 3), added to it by the light.
    """

    depth: np.ndarray
    ids: np.ndarray
    light_uvw: np.ndarray
    shade: np.ndarray
    light: np.ndarray

    def copy(self) -> Layer:
        return Layer(**{name: array.copy() for name, array in vars(self).items()})


class Rasterizer:
    """Renders one model at one size.

    Args:
        model: MjModel of planes, spheres, capsules, cylinders and boxes; geoms of alpha 0 are invisible.
        background: red, green, blue, 0 to 1.
        samples: rays per pixel along each axis; more than one smooths the edges.

    Raises:
        BadInputError: the model has geoms of other shapes.
    """

    def __init__(
        self, mujoco: Any, model: Any, *, width: int, height: int, background: tuple[float, ...], samples: int = 1
    ) -> None:
        self._model, self.width, self.height, self._samples = model, width * samples, height * samples, samples
        self._background = np.array(background, np.float32)
        names = {int(getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}")): name for name in SHAPES}
        drawn = [geom for geom in range(model.ngeom) if model.geom_rgba[geom, 3] > 0]
        if unknown := [geom for geom in drawn if int(model.geom_type[geom]) not in names]:
            raise BadInputError(
                f"geom {unknown[0]} is none of {', '.join(SHAPES)}; render this model with EGL or OSMesa"
            )
        self._shapes = {geom: SHAPES[names[int(model.geom_type[geom])]] for geom in drawn}
        moving = {
            int(model.body_rootid[body])
            for body in range(1, model.nbody)
            if model.body_dofnum[body] > 0 or model.body_mocapid[body] >= 0
        }
        self._moves = {geom: int(model.body_rootid[model.geom_bodyid[geom]]) in moving for geom in drawn}
        self._camera_moves = [int(model.body_rootid[body]) in moving for body in model.cam_bodyid]
        self.forget()

    def forget(self) -> None:
        """Call it after moving fixed parts of the model (bodies, cameras, light)."""
        self._fixed: dict[int, Layer] = {}
        direction = self._model.light_dir[0] / np.linalg.norm(self._model.light_dir[0])
        across = np.cross(direction, [1.0, 0.0, 0.0])
        across /= np.linalg.norm(across)
        self._light_frame = np.stack([across, np.cross(direction, across), -direction]).astype(np.float32)

    def render(self, data: Any, view: str) -> np.ndarray:
        """The image of camera `view`, (h, w, 3) uint8 RGB; kinematics and cameras must be computed in `data`."""
        layer = self.layer(data, view)
        colours, n = np.clip(layer.shade + layer.light, 0, 255), self._samples
        if n > 1:
            colours = sum(colours[row::n, column::n] for row in range(n) for column in range(n)) / n**2
        return colours.astype(np.uint8)

    def layer(self, data: Any, view: str) -> Layer:
        """The values of each ray of camera `view`, `height` by `width`."""
        camera = self._model.camera(view).id
        everything = list(self._shapes)
        if self._camera_moves[camera]:
            return self._draw(self._empty(), everything, camera, data)
        if camera not in self._fixed:
            fixed = [geom for geom in everything if not self._moves[geom]]
            self._fixed[camera] = self._draw(self._empty(), fixed, camera, data)
        moving = [geom for geom in everything if self._moves[geom]]
        return self._draw(self._fixed[camera].copy(), moving, camera, data)

    def _empty(self) -> Layer:
        size = (self.height, self.width)
        shade = np.broadcast_to(255 * self._background, (*size, 3)).copy()
        depth = np.full(size, np.inf, np.float32)
        nowhere = np.full((3, *size), 1e6, np.float32)
        ids = np.full(size, -1, np.int32)
        return Layer(depth=depth, ids=ids, light_uvw=nowhere, shade=shade, light=np.zeros_like(shade))

    def _focal(self, camera: int) -> float:
        return float(self.height / 2 / np.tan(np.radians(self._model.cam_fovy[camera]) / 2))

    def _rays(self, camera: int, data: Any) -> np.ndarray:
        """(h, w, 3) float32 directions in the world, of length 1 along the optical axis."""
        focal = self._focal(camera)
        x = (np.arange(self.width) + 0.5 - self.width / 2) / focal
        y = (self.height / 2 - np.arange(self.height) - 0.5) / focal
        local = np.stack([*np.meshgrid(x, y), np.full((self.height, self.width), -1.0)], axis=-1)
        return (local @ data.cam_xmat[camera].reshape(3, 3).T).astype(np.float32)

    def _draw(self, layer: Layer, geoms: list[int], camera: int, data: Any) -> Layer:
        rays = self._rays(camera, data)
        for geom in geoms:
            self._draw_geom(layer, geom, camera, rays=rays, data=data)
        for geom in geoms:
            self._cast_shadow(layer, geom, data)
        return layer

    def _rectangle(self, geom: int, camera: int, data: Any) -> Rectangle:
        """Rows and columns covered by the geom's bounding sphere; all of them where it is unknown."""
        radius = float(self._model.geom_rbound[geom])
        x, y, z = (data.geom_xpos[geom] - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
        if radius > 0 and z >= radius:  # behind the camera
            return slice(0, 0), slice(0, 0)
        if radius <= 0 or -z <= 1.1 * radius:
            return slice(0, self.height), slice(0, self.width)
        focal = self._focal(camera)
        near, reach = -z - radius, focal * radius / (-z - radius)
        spans = []
        for offset, size in ((-y, self.height), (x, self.width)):
            centres = size / 2 + focal * offset / np.array([near, -z + radius])
            low, high = np.clip([centres.min() - reach, centres.max() + reach + 1], 0, size).astype(int)
            spans.append(slice(int(low), int(high)))
        return spans[0], spans[1]

    def _draw_geom(self, layer: Layer, geom: int, camera: int, *, rays: np.ndarray, data: Any) -> None:
        where, eye = self._rectangle(geom, camera, data), data.cam_xpos[camera]
        hit, normals_of = self._shapes[geom]
        turn = data.geom_xmat[geom].reshape(3, 3).astype(np.float32)
        size = self._model.geom_size[geom].astype(np.float32)
        directions = rays[where] @ turn
        origin = ((eye - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)).astype(np.float32)
        depth = hit(origin, np.moveaxis(directions, -1, 0), size)
        seen = (depth > 0) & (depth < layer.depth[where])
        if not seen.any():
            return
        nearest = depth[seen][:, None]
        points = origin + nearest * directions[seen]
        normals = normals_of(points, size) @ turn.T
        views = rays[where][seen]
        facing = -(normals * views).sum(axis=1) / np.linalg.norm(views, axis=1)
        to_light = np.maximum(normals @ self._light_frame[2], 0)
        head, light = self._model.vis.headlight, self._model.light_diffuse[0]
        colour = 255 * self._model.geom_rgba[geom, :3].astype(np.float32)
        layer.depth[where][seen] = depth[seen]
        layer.ids[where][seen] = geom
        layer.shade[where][seen] = colour * (head.ambient + np.maximum(facing, 0)[:, None] * head.diffuse)
        layer.light[where][seen] = colour * light * to_light[:, None]
        layer.light_uvw[(slice(None), *where)][:, seen] = self._light_frame @ (eye[:, None] + (nearest * views).T)

    def _cast_shadow(self, layer: Layer, geom: int, data: Any) -> None:
        """Removes the light from every point from which the geom occludes it."""
        radius = float(self._model.geom_rbound[geom])
        if radius <= 0:
            return
        centre = self._light_frame @ data.geom_xpos[geom].astype(np.float32)
        near = np.abs(layer.light_uvw[0] - centre[0]) < radius
        near &= np.abs(layer.light_uvw[1] - centre[1]) < radius
        near &= layer.ids != geom
        if not near.any():
            return
        turn = data.geom_xmat[geom].reshape(3, 3).astype(np.float32)
        to_geom = turn.T @ self._light_frame.T
        origins = to_geom @ (layer.light_uvw[:, near] - centre[:, None])
        size = self._model.geom_size[geom].astype(np.float32)
        distance = self._shapes[geom][0](origins, to_geom[:, 2], size)
        blocked = np.zeros(near.shape, bool)
        blocked[near] = np.isfinite(distance) & (distance > SHADOW_BIAS_M)
        layer.light[blocked] = 0
