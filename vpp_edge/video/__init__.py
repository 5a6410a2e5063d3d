"""Video files: upright RGB frames with their times are read, MP4 and animated WebP are written."""

from vpp_edge.video.library import load_av
from vpp_edge.video.reading import (
    DecodedFrame,
    Timeline,
    VideoInfo,
    decoded_frames,
    read_frames,
    timeline,
    video_info,
)
from vpp_edge.video.writing import VideoWriter, write_animation, write_video

__all__ = [
    "DecodedFrame",
    "Timeline",
    "VideoInfo",
    "VideoWriter",
    "decoded_frames",
    "load_av",
    "read_frames",
    "timeline",
    "video_info",
    "write_animation",
    "write_video",
]
