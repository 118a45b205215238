"""The network camera of the stream tests, for the command line too."""

from tests.stream.conftest import mjpeg_camera

__all__ = ["mjpeg_camera"]
