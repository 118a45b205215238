"""The root of the command line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import edgepose
from edgepose.cli.bench import bench
from edgepose.cli.doctor import doctor
from edgepose.cli.export import export
from edgepose.cli.models import models
from edgepose.cli.run import run
from edgepose.cli.train import train
from edgepose.errors import EdgeposeError, MissingDependency
from edgepose.redact import redact

__all__ = ["app", "main"]

_EXIT_CODES = (
    "Exit codes: 0 done; 1 something handed in cannot be used; 2 wrong usage; 3 parity or a "
    "regression check failed; 4 the environment lacks something; 130 interrupted."
)

app = typer.Typer(
    name="edgepose",
    help="Find people joint by joint, on a device that is not a server.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(edgepose.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


for _verb in (export, bench, run, models, train, doctor):
    app.command()(_verb)


def main() -> None:
    """Entry point of the ``edgepose`` command."""
    try:
        app()
    except EdgeposeError as error:
        _fail(error)
    except ImportError as error:
        if "multiarray" in str(error):
            _fail(_other_numpy(error))
        if (error.name or "").partition(".")[0] != "cv2":
            raise
        _fail(_no_opencv(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _other_numpy(error: ImportError) -> MissingDependency:
    return MissingDependency(
        "a package here was compiled for another major version of NumPy",
        f"{error} (a system's OpenCV mostly wants NumPy 1)",
        "pip install 'numpy<2'; edgepose doctor says which package it is",
    )


def _no_opencv(error: ImportError) -> MissingDependency:
    if isinstance(error, ModuleNotFoundError):
        return MissingDependency(
            "this needs OpenCV (module 'cv2')",
            "on ARM boards it is left to the system, whose build has GStreamer and the camera "
            "drivers",
            'apt install python3-opencv, or pip install "edgepose[opencv]"',
        )
    # The wheel with windows needs libraries that a server or container may lack.
    return MissingDependency(
        "OpenCV is installed but cannot be loaded",
        str(error),
        "apt install libgl1 libglib2.0-0, or, without --show, "
        "pip uninstall opencv-python && pip install opencv-python-headless",
    )


def _fail(error: EdgeposeError) -> None:
    sys.stderr.write(f"edgepose: {redact(str(error))}\n")
    sys.exit(error.exit_code)
