"""``edgepose models``: what there is, what it costs, and what the papers say of it."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.errors import InputError
from edgepose.models import REGISTRY, ModelEntry, parse_name
from edgepose.zoo import ZooEntry, entries

if TYPE_CHECKING:
    from rich.table import Table

    from edgepose.models.cost import Cost

__all__ = ["models"]

_CONVENTION = (
    "GMACs: 10^9 multiply-adds of convolutions, linear layers and matrix products, per image. "
    'A paper\'s "GFLOPs" are multiply-adds too, each by its own rule; "as GMACs" is the figure '
    "brought to this rule, where the paper's is known."
)


def models(
    model: Annotated[
        str | None, typer.Argument(help="One model, as MODEL or MODEL@HEIGHTxWIDTH; all if absent.")
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, max=9, help="How far a model's parts are taken apart.")
    ] = 2,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the list as a Markdown table.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the models, what each costs beside what its paper prints, and which have weights.

    With MODEL: its card, and its cost part by part (that needs the torch extra).
    """
    if model is not None and markdown:
        raise InputError("--markdown prints the whole list", "it takes no model", "leave it out")
    zoo = entries()
    if model is not None:
        _one(model, zoo, depth, as_json)
    elif as_json:
        _write_json([_facts(name, entry, zoo) for name, entry in REGISTRY.items()])
    elif markdown:
        sys.stdout.write(_markdown(zoo))
    else:
        _print(_table(zoo))
        for number, note in enumerate(_notes(), 1):
            _print_text(f"[{number}] {note}")
        _print_text(_CONVENTION)


def _facts(name: str, entry: ModelEntry, zoo: list[ZooEntry]) -> dict[str, Any]:
    """A model as JSON. Keys that begin with ``paper_`` hold what is printed, None where nothing."""
    printed = entry.printed
    return {
        "name": name,
        "family": entry.family,
        "description": entry.description,
        "paper": entry.paper,
        "input": list(entry.input_size),
        "multiple": list(entry.steps),
        "output": entry.output,
        "params": entry.params,
        "gmacs": entry.gmacs,
        "weights": [
            {
                "name": setting.name,
                "default": setting.default,
                "onnx": setting.onnx is not None,
                "trained_on": setting.figures.get("trained_on", ""),
                "measured": setting.figures.get("measured", []),
            }
            for setting in zoo
            if setting.model == name
        ],
        "authors_weights": entry.authors.source if entry.authors else None,
        "paper_params_m": printed.params_m,
        "paper_gflops": printed.gflops,
        "paper_gmacs": printed.gmacs,
        "paper_ap": printed.ap,
        "paper_ap_setting": printed.ap_setting or None,
        "note": printed.note or None,
    }


def _notes() -> list[str]:
    """Every note once, in the order of the list."""
    return list(dict.fromkeys(e.printed.note for e in REGISTRY.values() if e.printed.note))


_COLUMNS = (
    "model", "input", "params M", "GMACs",
    "paper: params M", "GFLOPs", "as GMACs", "AP", "weights", "note",
)  # fmt: skip


def _rows(zoo: list[ZooEntry]) -> list[tuple[str, ...]]:
    notes = _notes()
    rows: list[tuple[str, ...]] = []
    for name, entry in REGISTRY.items():
        printed = entry.printed
        sizes = [f"{s.input_size[0]}x{s.input_size[1]}" for s in zoo if s.model == name]
        rows.append(
            (
                name,
                f"{entry.input_size[0]}x{entry.input_size[1]}",
                f"{entry.params / 1e6:.2f}",
                f"{entry.gmacs:.2f}",
                _figure(printed.params_m, 1),
                _figure(printed.gflops, 1),
                _figure(printed.gmacs, 2),
                _figure(printed.ap, 1),
                ", ".join(sizes),
                f"[{notes.index(printed.note) + 1}]" if printed.note else "",
            )
        )
    return rows


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(zoo: list[ZooEntry]) -> Table:
    from rich.table import Table

    # No box: with one, the ten columns would not fit a terminal of 80 characters.
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column in _COLUMNS:
        text = column in ("model", "input", "weights", "note")
        header = column.replace(": ", "\n").replace(" ", "\n")
        table.add_column(header, justify="left" if text else "right", vertical="bottom")
    for row in _rows(zoo):
        table.add_row(*(cell.replace("[", r"\[").replace(", ", "\n") for cell in row))
    return table


def _markdown(zoo: list[ZooEntry]) -> str:
    lines = ["| " + " | ".join(_COLUMNS) + " |"]
    lines.append("|" + "---|" * len(_COLUMNS))
    lines += ["| " + " | ".join(row) + " |" for row in _rows(zoo)]
    lines += ["", *(f"[{n}] {note}  " for n, note in enumerate(_notes(), 1)), "", _CONVENTION]
    return "\n".join(lines) + "\n"


def _one(model: str, zoo: list[ZooEntry], depth: int, as_json: bool) -> None:
    base, _ = parse_name(model)
    facts = _facts(base, REGISTRY[base], zoo)
    cost = _cost(model, depth)
    if as_json:
        _write_json({**facts, "cost": None if cost is None else cost.to_dict()})
        return
    _print(_card(facts, REGISTRY[base]))
    if cost is not None:
        _print(_parts(cost))
    cards = {setting.card for setting in zoo if setting.model == base}
    for card in sorted(cards):
        _print_markdown(card.read_text(encoding="utf-8"))


def _cost(model: str, depth: int) -> Cost | None:
    if find_spec("torch") is None:
        sys.stderr.write(
            "no cost by parts: counting builds the model, which needs torch: "
            'pip install "edgepose[export]"\n'
        )
        return None
    from edgepose.models.cost import cost_of

    return cost_of(model, depth)


def _card(facts: dict[str, Any], entry: ModelEntry) -> Table:
    from rich.table import Table

    printed = entry.printed
    said = [
        f"{value:g} {what}"
        for what, value in (
            ("M parameters", printed.params_m),
            ("GFLOPs", printed.gflops),
            ("of our GMACs", printed.gmacs),
            (f"AP ({printed.ap_setting})", printed.ap),
        )
        if value is not None
    ]
    steps = "x".join(str(step) for step in entry.steps)
    table = Table(title=facts["name"], show_header=False)
    for label, value in (
        ("what", entry.description),
        ("paper", entry.paper),
        ("input", f"{entry.input_size[0]}x{entry.input_size[1]}, or multiples of {steps}"),
        ("output", f"{entry.output}, read by {entry.decoder.name}"),
        ("cost", f"{entry.params:,} parameters, {entry.gmacs:g} GMACs"),
        ("the paper prints", ", ".join(said) or "nothing of the kind"),
        ("note", printed.note),
        ("weights", ", ".join(w["name"] for w in facts["weights"]) or "none in the zoo"),
        ("authors' weights", facts["authors_weights"] or ""),
    ):
        if value:
            table.add_row(label, value.replace("[", r"\["))
    return table


def _parts(cost: Cost) -> Table:
    from rich.table import Table

    height, width = cost.input_size
    table = Table(title=f"Cost at {height}x{width}, part by part", show_footer=True)
    table.add_column("part", "all")
    table.add_column("kind")
    table.add_column("params", f"{cost.params:,}", justify="right")
    table.add_column("GMACs", f"{cost.gmacs:.4f}", justify="right")
    table.add_column("share", justify="right")
    for part in cost.parts:
        share = part.gmacs / cost.gmacs if cost.gmacs else 0
        table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.gmacs:.4f}", f"{share:.1%}")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)


def _print_text(text: str) -> None:
    from rich.console import Console

    Console(highlight=False).print(text, markup=False)


def _print_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def _write_json(data: object) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
