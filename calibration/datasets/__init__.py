"""Data sets of robot recordings with instruction, states and images."""

from vpp_edge.calibration.datasets.layouts import open_dataset
from vpp_edge.calibration.datasets.recording import Dataset, Recording

__all__ = ["Dataset", "Recording", "open_dataset"]
