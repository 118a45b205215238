"""Where results go: JSON lines, annotated pictures and videos, a window."""

from edgepose.stream.sinks.base import Result, Sink
from edgepose.stream.sinks.jsonl import JsonlSink
from edgepose.stream.sinks.opening import open_save
from edgepose.stream.sinks.overwriting import check_outputs
from edgepose.stream.sinks.window import WindowSink

__all__ = ["JsonlSink", "Result", "Sink", "WindowSink", "check_outputs", "open_save"]
