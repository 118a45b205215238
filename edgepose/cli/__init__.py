"""The command line: one small file a verb, one place that turns errors into exit codes."""

from edgepose.cli._app import app, main

__all__ = ["app", "main"]
