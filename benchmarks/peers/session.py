"""What all comparisons with a peer share: the command line, the scene, the clock, the record."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.peers.networks import network_file
from edgepose.bench.hardware import fingerprint, load_average, slug
from edgepose.bench.records import BenchRecord
from edgepose.bench.report import pairs_table
from edgepose.bench.scenes import sample_scene
from edgepose.bench.timing import Samples, Schedule
from edgepose.errors import MissingDependency
from edgepose.zoo import sha256_of

__all__ = ["Session", "session_options"]

HERE = Path(__file__).parent
# With onnxruntime's defaults, which peers use, threads spin on for 40 ms after a call. A pipeline
# whose turn comes sooner has a core less, and is charged for the other's habits.
PAUSE_S = 0.1
Timing = Callable[[Schedule, Callable[[int, int], None]], dict[str, Samples]]


def session_options(threads: int) -> Any:
    """How a peer's session is made: the defaults of onnxruntime but for the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return options


class Session:
    """One comparison: what was asked for, and what becomes of it.

    Args:
        words: The script's docstring, for ``--help``.
        peer: Whom edgepose is compared with; names the requirements file and the package.
        networks: What can be chosen.

    Raises:
        MissingDependency: The peer is not installed here.
    """

    def __init__(self, words: str, peer: str, networks: Sequence[str]) -> None:
        import cv2

        arguments = _parse(words, networks)
        if importlib.util.find_spec(peer) is None:
            raise MissingDependency(
                f"this needs {peer}",
                "it is not in this environment",
                f"python benchmarks/peers/run.py {peer}",
            )
        self.peer = peer
        self.networks: Path = arguments.networks
        self.chosen: list[str] = arguments.only or list(networks)
        self.threads: int = arguments.threads
        self.scene = sample_scene()
        self._arguments = arguments
        self._console = Console(stderr=True)
        self._load: list[float | None] = []
        self._schedule = Schedule(rounds=arguments.rounds, calls=2, pause_s=PAUSE_S)
        # Both sides crop with OpenCV.
        cv2.setNumThreads(self.threads)

    def say(self, words: str) -> None:
        """Talk; data goes to stdout."""
        self._console.print(words, highlight=False, markup=False, soft_wrap=True)

    def timed(self, take: Timing) -> dict[str, Samples]:
        """Time with a progress bar, and note the load before and after."""
        self._load = [load_average()]
        with Progress(console=self._console, transient=True) as bar:
            task = bar.add_task("timing", total=None)
            samples = take(
                self._schedule, lambda done, total: bar.update(task, completed=done, total=total)
            )
        self._load.append(load_average())
        return samples

    def described(self, words: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The networks chosen, each with its digest."""
        return {
            name: {
                "what": words[name],
                "sha256": sha256_of(network_file(self.networks, name)),
            }
            for name in self.chosen
        }

    def finish(self, rows: list[dict[str, Any]], protocol: Mapping[str, Any]) -> None:
        """Write the record and print it."""
        before, after = self._load
        record = BenchRecord(
            kind="peers",
            command=_command(self.peer, self.networks),
            artefact=None,
            runner={"runtime": self.peer, "version": importlib.metadata.version(self.peer)},
            protocol={
                **protocol,
                "requirements": (HERE / f"{self.peer}.txt").read_text().splitlines(),
                "threads": self.threads,
                "niceness": os.nice(0),
                "scene": self.scene.source,
                "schedule": self._schedule.to_dict(),
                "load_before": before,
                "load_after": after,
            },
            results=rows,
        )
        self.say(f"wrote {record.write(self._arguments.out / slug(record.environment))}")
        if self._arguments.json:
            sys.stdout.write(json.dumps(record.to_dict()) + "\n")
        else:
            # A pipe is taken for 80 columns wide, in which the verdicts would be cut.
            Console(width=None if sys.stdout.isatty() else 110).print(pairs_table(record))


def _command(peer: str, networks: Path) -> str:
    """The command that does it again, wherever the networks lie."""
    rest = [word for word in sys.argv[1:] if Path(word) != networks]
    return shlex.join(["python", "benchmarks/peers/run.py", peer, *(["--", *rest] if rest else [])])


def _parse(words: str, networks: Sequence[str]) -> argparse.Namespace:
    cores = fingerprint()["hardware"]["usable_cores"] or 1
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path, metavar="NETWORKS", help="made by networks.py")
    parser.add_argument(
        "--only", action="append", choices=networks, help="a network; may be repeated"
    )
    parser.add_argument("--rounds", type=_rounds, default=30, help="rounds (30)")
    parser.add_argument(
        "--threads", type=int, default=cores, help=f"of onnxruntime and OpenCV (all: {cores})"
    )
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE.parent / "results",
        help="folder; the record goes into a folder named by the hardware there",
    )
    return parser.parse_args()


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 5:
        raise argparse.ArgumentTypeError("fewer than 5 rounds give no interval")
    return rounds
