"""Cameras: RealSense devices, recordings, videos and the simulator as numbered RGB frames, and the camera process."""
