"""Compare edgepose with its peers, each in a virtual environment of its own.

    python benchmarks/peers/run.py [rtmlib] [onnxruntime] [ultralytics] [-- ARGUMENTS]

Makes the networks (needs the export extra, in the environment that runs this), makes each peer's
environment from its requirements file, and runs its script there. What follows ``--`` goes to the
scripts. Without names: rtmlib, which is what edgepose promises to beat. Everything lies in
build/peers and is used again next time; delete it to begin afresh.

Exit code 3 if a promise is broken, 4 if an environment cannot be made.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.networks import make_networks
from edgepose.errors import EdgeposeError, MissingDependency

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "peers"
PEERS = ("rtmlib", "onnxruntime", "ultralytics")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of peers, and what is for their scripts.

    Raises:
        ValueError: A name that is none.
    """
    cut = words.index("--") if "--" in words else len(words)
    names = list(words[:cut])
    for name in names:
        if name not in PEERS:
            raise ValueError(f"there is no peer '{name}'; there are {', '.join(PEERS)}")
    return names or ["rtmlib"], list(words[cut + 1 :])


def environment(peer: str, folder: Path) -> Path:
    """The Python of a peer's virtual environment, made unless it is there and up to date.

    Raises:
        MissingDependency: pip failed.
    """
    requirements = HERE / f"{peer}.txt"
    stamp = folder / "requirements.sha256"
    digest = hashlib.sha256(
        requirements.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    ).hexdigest()
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if stamp.exists() and stamp.read_text() == digest:
        return python
    sys.stderr.write(f"making {folder}\n")
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", str(requirements), "-e", str(ROOT)])
    if done.returncode != 0:
        raise MissingDependency(
            f"the environment of {peer} cannot be made",
            "pip's words are above",
            f"{folder} -r benchmarks/peers/{peer}.txt, see benchmarks/peers/README.md",
        )
    stamp.write_text(digest)
    return python


def surroundings(arguments: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a script: numpy's own threads are held to --threads too."""
    found = dict(given)
    if "--threads" in arguments:
        threads = arguments[arguments.index("--threads") + 1]
        found |= {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    return found


def main() -> int:
    """Make what is needed, run each, and hand on the worst exit code."""
    try:
        peers, arguments = split(sys.argv[1:])
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    networks = WORK / "networks"
    make_networks(networks)
    worst = 0
    for peer in peers:
        python = environment(peer, WORK / peer)
        script = HERE / f"{peer}_pairs.py"
        done = subprocess.run(
            [str(python), str(script), str(networks), *arguments],
            env=surroundings(arguments, os.environ),
        )
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:2]):
        sys.stdout.write(f"{__doc__}")
        sys.exit(0)
    try:
        sys.exit(main())
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
