"""A simulated dexterous hand over a table: its model, its pictures. Importing this loads no MuJoCo."""

from vpp_edge.runtime.sim.renderer import VIEWS, SimRenderer

__all__ = ["VIEWS", "SimRenderer"]
