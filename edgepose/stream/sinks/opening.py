"""From what the user types after ``--save`` to a sink."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import OutputError
from edgepose.images import IMAGE_SUFFIXES
from edgepose.stream.sinks.base import Sink
from edgepose.stream.sinks.overwriting import check_outputs
from edgepose.stream.sinks.pictures import FolderSink, PictureSink
from edgepose.stream.sinks.video import VIDEO_CODECS, VideoSink
from edgepose.stream.sources.base import Source
from edgepose.stream.sources.pictures import PictureSource

__all__ = ["open_save"]


def open_save(target: str | Path, source: Source) -> Sink:
    """The sink for annotated frames.

    ===================  =======================================================
    one photo            ``out.jpg``, or a folder
    several pictures     a folder
    a video or stream    ``out.mp4`` (.mov, .mkv, .avi), or a folder of pictures
    ===================  =======================================================

    Raises:
        OutputError: Form and source do not go together, or it cannot be written.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    originals = source.paths if isinstance(source, PictureSource) else []
    inputs = originals or [Path(source.name)]
    check_outputs({"--save": path}, [("the source itself", original) for original in inputs])
    if not path.is_dir() and suffix in VIDEO_CODECS:
        if originals:
            raise OutputError(
                f"cannot save to {path}",
                "the source is pictures, not a video",
                "give a picture name for one photo, a folder for several",
            )
        return VideoSink(path, source.fps, live=source.live)
    if not path.is_dir() and suffix in IMAGE_SUFFIXES:
        if len(originals) != 1:
            raise OutputError(
                f"cannot save to {path}",
                "the source has more than one frame",
                f"give a folder{'' if originals else ', or a video name such as out.mp4'}",
            )
        return PictureSink(path)
    if suffix and not path.is_dir():
        raise OutputError(
            f"cannot save to {path}",
            f"'{suffix}' is no format that edgepose writes",
            f"use {', '.join(sorted(IMAGE_SUFFIXES | VIDEO_CODECS.keys()))}, or a folder",
        )
    return FolderSink(path, originals)
