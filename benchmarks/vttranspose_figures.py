"""VTTransPose beside TransPose-H-S in one run: parameters, MACs, memory and latency on the CPU.

Three nets, as in the paper's ablation: transpose-h-s, the same with twin attention, vttranspose
(twin attention and V blocks). And the attentions alone: over all cells of a map, and along its
columns and then its rows.

    python benchmarks/vttranspose_figures.py [--size 256x192] [--batch 4] [--rounds 15] [--json]

training   Each figure is of a fresh process. peak: by how much resident memory rises from "torch is
           warm, nothing is built" to its highest in two steps of zero_grad, forward, mean square
           error, backward, Adam. So weights, gradients, Adam's moments, activations and the
           kernels' workspaces are in it, the libraries' own code is not. saved: the bytes that
           autograd keeps for the backward pass of one forward, each storage once, without weights,
           buffers and images. It is the same on every device, but for the masks of dropout, which
           take four bytes an element here and one on a GPU: hence the nets without it as well.
inference  Of a fresh process as well: by how much resident memory rises while the exported ONNX
           runs in onnxruntime three times at batch 1, above what the open session (weights) takes.
           Without the memory arena, that is live activations and workspaces; with it (the default
           of onnxruntime), what is taken and kept.
latency    Of the same ONNX files, in shuffled rounds; quoted are ratios inside a round.

Weights are random: neither memory nor time depends on them. Needs Linux, and a few GiB of memory.
Run it on an idle machine; the record tells the load while it timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgepose.bench import (
    BenchRecord,
    Cell,
    Pair,
    Schedule,
    fingerprint,
    judge,
    load_average,
    measure,
    slug,
)
from edgepose.bench.memory import PeakMemory
from edgepose.bench.report import pairs_table
from edgepose.errors import EdgeposeError
from edgepose.export import make_graph, rewritten
from edgepose.export.rewrites.twin import LineAttention
from edgepose.export.trace import trace
from edgepose.files import write_bytes
from edgepose.models.encoder import Attention
from edgepose.models.transpose import transpose
from edgepose.models.vttranspose import AxisAttention, vttranspose
from edgepose.runtime.onnxruntime import open_session
from edgepose.spec import DecoderSpec, PoseSpec

CHANNELS = 64
STEPS = 2  # Adam's moments exist from the second on
RUNS = 3
MIB = 2**20
# glibc then maps every larger block apart and returns it when it is freed.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "16384"}
PAPER = {
    "source": "VTTransPose (Li et al., Scientific Reports 14:7608, 2024), ablation at 256x192",
    "training_mb_batch_4": {"transpose-h-s": 3503, "twin": 1953, "vttranspose": 2007},
    "params_m": {"transpose-h-s": 8.0, "twin": 8.0, "vttranspose": 6.0},
    "gflops": {"transpose-h-s": 10.2, "vttranspose": 5.4},
}

BASELINE, TWIN, VTT = "transpose-h-s", "transpose-h-s + twin", "vttranspose"
FULL, LINES = "full attention", "twin attention"


class FullAttention(nn.Module):
    """One head over all cells of a map (B, H, W, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(CHANNELS, 1, bias=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """A map to one of the same shape."""
        mixed = self.attention(images.flatten(1, 2))  # (B, H * W, d)
        return {"out": mixed.unflatten(1, images.shape[1:3])}

    def lean(self) -> nn.Module:
        """As exported."""
        return rewritten(self)[0]


class TwinAttention(nn.Module):
    """One head along the columns of a map (B, H, W, d), then one along its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.column = AxisAttention(CHANNELS, 1, "column")
        self.row = AxisAttention(CHANNELS, 1, "row")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """A map to one of the same shape."""
        return {"out": self.row(self.column(images))}

    def lean(self) -> nn.Module:
        """As exported."""
        return LeanTwinAttention(self).eval()


class LeanTwinAttention(nn.Module):
    """:class:`TwinAttention` as the rewrite leaves it inside a net."""

    def __init__(self, twin: TwinAttention) -> None:
        super().__init__()
        self.column, self.row = LineAttention(twin.column), LineAttention(twin.row)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """A map to one of the same shape."""
        return {"out": self.row(self.column(images.transpose(1, 2)).transpose(1, 2))}


NETS: dict[str, Callable[..., nn.Module]] = {
    BASELINE: transpose,
    TWIN: partial(vttranspose, v_branch=None),
    VTT: vttranspose,
}
ATTENTIONS: dict[str, type[FullAttention] | type[TwinAttention]] = {
    FULL: FullAttention,
    LINES: TwinAttention,
}


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        name: Of a net or of an attention.
        height: Of the images; an attention gets the map of a quarter of it.
        width: Likewise.
        dropout: Of the nets' encoders in training.
    """

    name: str
    height: int
    width: int
    dropout: float = 0.1

    @property
    def is_net(self) -> bool:
        """Whether it is a whole net."""
        return self.name in NETS

    @property
    def title(self) -> str:
        """Key of its samples."""
        return f"{self.name} {self.height}x{self.width}"

    def build(self) -> nn.Module:
        """It, with random weights, in train mode."""
        torch.manual_seed(0)
        if self.is_net:
            return NETS[self.name]((self.height, self.width), 17, dropout=self.dropout)
        return ATTENTIONS[self.name]()

    def shape(self, batch: int) -> tuple[int, ...]:
        """Of its input."""
        if self.is_net:
            return batch, 3, self.height, self.width
        return batch, self.height // 4, self.width // 4, CHANNELS


def costs(subject: Subject) -> dict[str, Any]:
    """Parameters and multiply-adds of one forward pass, counted without computing."""
    with torch.device("meta"):
        module, images = subject.build().eval(), torch.empty(subject.shape(1))
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            module(images)
    between_activations = counter.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0)
    return {
        "params": sum(p.numel() for p in module.parameters()),
        "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "gmacs": counter.get_total_flops() / 2e9,
        "gmacs_of_attention_products": between_activations / 2e9,
    }


def saved_bytes(module: nn.Module, images: Tensor) -> int:
    """What autograd keeps of one forward pass: each storage once, own tensors left out."""
    given = [*module.parameters(), *module.buffers(), images]
    own = {tensor.untyped_storage().data_ptr() for tensor in given}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # shares the storage, and makes no cycle with its own graph

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = module(images)
        # While the outputs live, so do the storages: no address is used twice.
        total = sum(found.values())
    del outputs
    return total


def train(subject: Subject, batch: int, steps: int) -> tuple[nn.Module, Tensor]:
    """Build the subject and train it so many steps; returns it with its input."""
    module, images = subject.build(), torch.randn(subject.shape(batch))
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)
    for _ in range(steps):
        optimiser.zero_grad()
        (output,) = module(images).values()
        nn.functional.mse_loss(output, torch.zeros_like(output)).backward()
        optimiser.step()
        del output
    return module, images


def training_memory(subject: Subject, batch: int) -> dict[str, Any]:
    """Peak and saved bytes of training; to be called once in a process."""
    train(Subject(TWIN, 32, 32), 1, steps=1)  # loads the libraries, starts their threads
    with PeakMemory() as peak:
        module, images = train(subject, batch, STEPS)
    return {"peak_mib": peak.growth / MIB, "saved_mib": saved_bytes(module, images) / MIB}


def inference_memory(graph: str, shape: list[int], threads: int, arena: bool) -> dict[str, Any]:
    """Peak growth while a graph runs; to be called once in a process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    images = np.ones(shape, np.float32)
    with PeakMemory() as peak:
        for _ in range(RUNS):
            session.run(None, {"images": images})
    return {"peak_mib": peak.growth / MIB}


def child(task: dict[str, Any]) -> dict[str, Any]:
    """What a child process does with the task its parent gave it."""
    torch.set_num_threads(task["threads"])
    if task["what"] == "training":
        return training_memory(Subject(**task["subject"]), task["batch"])
    return inference_memory(task["graph"], task["shape"], task["threads"], task["arena"])


def in_child(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a fresh process.

    Raises:
        EdgeposeError: It died, most likely of too little memory.
    """
    same_packages = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(task)],
        env=os.environ | CHILD_ENVIRONMENT | same_packages,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeposeError(
            f"measuring {task} failed",
            f"the process ended with {done.returncode}: {last}",
            "free some memory, or take a smaller --batch or --size",
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def repeated(task: dict[str, Any], times: int) -> dict[str, Any]:
    """Medians over several processes, and the peaks they are medians of."""
    answers = [in_child(task) for _ in range(times)]
    medians = {key: statistics.median(a[key] for a in answers) for key in answers[0]}
    return {k: round(v, 1) for k, v in medians.items()} | {
        "peaks_mib": [round(a["peak_mib"], 1) for a in answers]
    }


def export(subject: Subject, folder: Path) -> Path:
    """The subject as an ONNX file, rewritten as every artefact is."""
    module = subject.build().eval()
    path = folder / f"{subject.title}.onnx"
    if isinstance(module, (FullAttention, TwinAttention)):
        model = trace(module.lean(), torch.zeros(subject.shape(1)[1:]))
    else:
        spec = PoseSpec(
            model=subject.name,
            input_size=(subject.height, subject.width),
            output="heatmap",
            decoder=DecoderSpec(name="dark", alignment="half_pixel", blur_kernel=11),
        )
        model = make_graph(module, spec).model
    write_bytes(path, model.SerializeToString())
    return path


def pairs(sizes: list[tuple[int, int]]) -> list[Pair]:
    """Who is compared with whom."""
    asked = [(VTT, BASELINE), (TWIN, BASELINE), (VTT, TWIN), (LINES, FULL)]
    return [
        Pair(
            name=f"{height}x{width}: {above} / {below}",
            contender=Subject(above, height, width).title,
            baseline=Subject(below, height, width).title,
        )
        for height, width in sizes
        for above, below in asked
    ]


def main() -> int:
    """Count, measure, time, record, print."""
    arguments = parse()
    if arguments.child is not None:
        sys.stdout.write(json.dumps(child(json.loads(arguments.child))))
        return 0
    torch.set_num_threads(arguments.threads)
    sizes = arguments.size or [(256, 192), (384, 288)]
    subjects = [Subject(name, *size) for size in sizes for name in (*NETS, *ATTENTIONS)]
    console = Console(stderr=True)
    results: list[dict[str, Any]] = []

    def add(figure: str, subject: Subject, row: dict[str, Any]) -> None:
        size = f"{subject.height}x{subject.width}"
        results.append({"figure": figure, "subject": subject.name, "size": size} | row)

    schedule = Schedule(rounds=arguments.rounds, calls=3, warmup=2)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as bar:
        task = bar.add_task("counting", total=None)
        graphs: dict[Subject, Path] = {}
        cells = []
        for subject in subjects:
            add("costs", subject, costs(subject))
            bar.update(task, description=f"exporting {subject.title}")
            graphs[subject] = export(subject, Path(folder))
            session = open_session(graphs[subject], "cpu", arguments.threads)
            images = np.random.default_rng(0).normal(size=subject.shape(1)).astype(np.float32)
            cells.append(Cell(subject.title, partial(session.run, None, {"images": images})))
        bar.update(task, description="timing")
        before = load_average()
        samples = measure(
            cells, schedule, lambda done, total: bar.update(task, completed=done, total=total)
        )
        after = load_average()
        threads = {"threads": arguments.threads}
        for subject, path in graphs.items():
            bar.update(task, description=f"memory of {subject.title}")
            for arena in (False, True):
                asked: dict[str, Any] = {
                    "what": "inference",
                    "graph": str(path),
                    "shape": subject.shape(1),
                }
                found = repeated(asked | threads | {"arena": arena}, arguments.repeats)
                add("inference memory", subject, {"arena": arena} | found)
        for subject in trained(subjects):
            bar.update(task, description=f"training memory of {subject.title}")
            asked = {"what": "training", "subject": asdict(subject), "batch": arguments.batch}
            found = repeated(asked | threads, arguments.repeats)
            dropout = subject.dropout if subject.is_net else 0.0
            add("training memory", subject, {"dropout": dropout} | found)
    latency = judge(pairs(sizes), samples)
    record = BenchRecord(
        kind="vttranspose-figures",
        command=shlex.join(["python", "benchmarks/vttranspose_figures.py", *sys.argv[1:]]),
        artefact=None,
        runner=None,
        protocol={
            "weights": "random, seed 0",
            "threads": arguments.threads,
            "niceness": os.nice(0),
            "training": f"batch {arguments.batch}, {STEPS} steps in a fresh process; peak_mib is "
            "the highest resident memory above that of torch warm and nothing built (weights, "
            "gradients, Adam's moments, activations, workspaces); saved_mib is what autograd keeps "
            "of one forward pass, each storage once, without weights, buffers and images (dropout "
            "masks: four bytes an element on the CPU, one on a GPU)",
            "inference": f"batch 1, {RUNS} runs in a fresh process; peak_mib is the highest "
            "resident memory above that of the open session, without and with the memory arena",
            "attention": f"{CHANNELS} channels, 1 head, on the map of a quarter of the size; "
            "projections included, no norm, no sum, no dropout",
            "processes_each": arguments.repeats,
            "child_environment": CHILD_ENVIRONMENT,
            "schedule": schedule.to_dict(),
            "paper": PAPER,
            "load_before": before,
            "load_after": after,
        },
        results=[*results, *({"figure": "latency"} | row for row in latency)],
    )
    console.print(f"wrote {record.write(arguments.out / slug(record.environment))}", soft_wrap=True)
    if arguments.json:
        sys.stdout.write(json.dumps(record.to_dict()) + "\n")
        return 0
    out = Console()
    out.print(summary(results))
    out.print(pairs_table(BenchRecord(**record.to_dict() | {"results": latency})))
    return 0


def trained(subjects: list[Subject]) -> list[Subject]:
    """Whose training is measured: nets at the first size, attentions at all.

    At 384x288 a batch of the baseline would want about 12 GiB.
    """
    first = subjects[0]
    nets = [s for s in subjects if s.is_net and (s.height, s.width) == (first.height, first.width)]
    plain = [Subject(s.name, s.height, s.width, dropout=0.0) for s in nets if s.name != TWIN]
    return [*nets, *plain, *(s for s in subjects if not s.is_net)]


def summary(results: list[dict[str, Any]]) -> Table:
    """One row a subject and size."""
    table = Table(title="TransPose-H-S and VTTransPose (memory in MiB)", title_justify="left")
    table.add_column("")
    for title in ("size", "params", "GMACs", "products", "peak", "saved", "no arena", "arena"):
        table.add_column(title, justify="right")
    for row in (r for r in results if r["figure"] == "costs"):
        same = [r for r in results if all(r.get(k) == row[k] for k in ("subject", "size"))]
        # The first is the one with the dropout that the nets are trained with.
        training = next((r for r in same if r["figure"] == "training memory"), None)
        peak, saved = "-", "-"
        if training is not None:
            peak, saved = f"{training['peak_mib']:.0f}", f"{training['saved_mib']:.0f}"
        live, kept = (
            f"{r['peak_mib']:.1f}"
            for arena in (False, True)
            for r in same
            if r["figure"] == "inference memory" and r["arena"] is arena
        )
        table.add_row(
            row["subject"],
            row["size"],
            f"{row['params'] / 1e6:.4f}M",
            f"{row['gmacs']:.4f}",
            f"{row['gmacs_of_attention_products']:.4f}",
            peak,
            saved,
            live,
            kept,
        )
    return table


def size_of(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def parse() -> argparse.Namespace:
    """The command line."""
    cores = fingerprint()["hardware"]["usable_cores"] or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size",
        action="append",
        type=size_of,
        metavar="HEIGHTxWIDTH",
        help="of the images; may be repeated; nets are trained at the first (256x192, 384x288)",
    )
    parser.add_argument("--batch", type=int, default=4, help="images a training step (4)")
    parser.add_argument("--repeats", type=int, default=2, help="processes for each memory (2)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing (15)")
    parser.add_argument("--threads", type=int, default=cores, help=f"threads (all: {cores})")
    parser.add_argument("--json", action="store_true", help="print the record")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        help="folder; the record goes into a folder named by the hardware there",
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
