"""From what the user types to a source."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from urllib.parse import urlsplit

from edgepose.errors import SourceError
from edgepose.images import IMAGE_SUFFIXES
from edgepose.redact import redact
from edgepose.stream.sources.base import Source, Warn
from edgepose.stream.sources.capture import Capture, open_camera, open_stream
from edgepose.stream.sources.live import LiveSource
from edgepose.stream.sources.pictures import PictureSource, only_pictures, pictures_in
from edgepose.stream.sources.video import VideoSource

__all__ = ["open_source"]

_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt")
_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


def open_source(
    text: str,
    *,
    warn: Warn = lambda message: None,
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 10.0,
) -> Source:
    """Open a source.

    ========================================  =====================================================
    ``0``, ``/dev/video0``                    a camera, live
    ``rtsp://``, ``http://``, ``udp://``, …   a stream, live
    ``http://…/name.mp4`` (.mkv, .avi, …)     a video on a web server: every frame, not live
    a folder, ``shots/*.jpg``                 pictures, in natural order
    a picture, any other file                 one photo, a video
    ========================================  =====================================================

    Args:
        text: One of the above.
        warn: Told what went wrong without ending the source.
        open_timeout_s: Longest wait for a stream to open.
        read_timeout_s: Longest wait for a frame of a stream.

    Raises:
        SourceError: There is no such source, or it gives no frames.
    """
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", text)
    if camera:
        number = int(camera[1])
        return LiveSource(f"camera {number}", lambda: _camera(number), stall_s=read_timeout_s)
    if "://" in text:
        return _from_url(text, warn, open_timeout_s, read_timeout_s)
    path = Path(text)
    if path.is_dir():
        return PictureSource(pictures_in(path), text, warn)
    if path.exists():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return PictureSource.photo(path)
        return VideoSource(text, warn)
    if glob.has_magic(text):
        # Path.glob takes no absolute patterns.
        matches = [Path(p) for p in glob.glob(text, recursive=True)]  # noqa: PTH207
        return PictureSource(only_pictures(matches, f"the pattern {text}"), text, warn)
    raise SourceError(
        f"there is no source {text}",
        "no such file or folder",
        "--source takes a photo, a folder, a glob, a video, a camera number or a URL",
    )


def _from_url(url: str, warn: Warn, open_timeout_s: float, read_timeout_s: float) -> Source:
    name = redact(url)
    scheme = url.partition("://")[0].lower()
    if scheme not in _STREAM_SCHEMES:
        raise SourceError(
            f"cannot open {name}",
            f"'{scheme}' is no scheme that edgepose reads",
            f"use one of {', '.join(_STREAM_SCHEMES)}, or a path without a scheme",
        )
    try:
        where = urlsplit(url).path.lower()
    except ValueError:
        # Its message may quote the URL with the password, so it stays out of ours.
        raise SourceError(f"cannot open {name}", "it is no valid URL") from None
    if scheme in ("http", "https") and where.endswith(_VIDEO_SUFFIXES):
        return VideoSource(url, warn, open_timeout_s, read_timeout_s)

    def opener() -> Capture:
        capture = open_stream(url, open_timeout_s, read_timeout_s)
        if capture is None:
            raise SourceError(
                f"cannot open {name}",
                f"no video came from it within {open_timeout_s:g} s (host or port unreachable, "
                "wrong path, or user and password refused)",
                "try the same URL in VLC or ffplay on this machine",
            )
        return capture

    return LiveSource(name, opener, open_timeout_s=open_timeout_s, stall_s=read_timeout_s + 1)


def _camera(number: int) -> Capture:
    capture = open_camera(number)
    if capture is None:
        found = sorted(str(p) for p in Path("/dev").glob("video*"))
        raise SourceError(
            f"there is no camera {number}",
            f"cameras on this machine: {', '.join(found)}" if found else "no /dev/video* is there",
            "plug it in, or see: v4l2-ctl --list-devices"
            if not found
            else "another program may hold it, or you may lack the group 'video'",
        )
    return capture
