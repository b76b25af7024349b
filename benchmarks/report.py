"""Report: results as JSON, a chart per question, and one Markdown file over all questions of a folder."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["NAME", "number", "section", "write"]

NAME = "results.md"
COLORS = {"ours": "#1f6feb", "peer": "#8b949e", "limit": "#d29922"}
ROW = 0.27  # inches
HEAD = ("figure", "value", "bound", "met")


def write(out: Path, question: str, result: dict[str, Any], order: Iterable[str]) -> None:
    """Writes a question's JSON and PNG, and the Markdown file anew, over all questions that have a JSON there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{question}.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(out / f"{question}.png", result["contests"])
    there = {name: json.loads(path.read_text()) for name in order if (path := out / f"{name}.json").exists()}
    (out / NAME).write_text(markdown(there))


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """Returns the text: first what has a bound, then every question with its tables."""
    parts = [
        "# Results",
        "Written by `python -m benchmarks`; see docs/benchmarks.md for what is measured and how.",
        bounds(results),
    ]
    parts += [section(result, f"![{name}]({name}.png)") for name, result in results.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(result: dict[str, Any], picture: str = "") -> str:
    """Returns the text about one question."""
    headline, _, text = result["text"].partition("\n")
    parts = [f"## {headline}", text.strip(), conditions(result), picture]
    for contest in result["contests"]:
        parts += [f"### {contest['title']}", table_of(contest)]
        if contest["figures"]:
            parts.append(table(HEAD, map(figure_row, contest["figures"])))
    return "\n\n".join(part for part in parts if part)


def bounds(results: dict[str, dict[str, Any]]) -> str:
    """Returns the table of all figures that have a bound."""
    figures = [figure for result in results.values() for contest in result["contests"] for figure in contest["figures"]]
    rows = [figure_row(figure) for figure in figures if bound(figure)]
    return table(HEAD, rows) if rows else ""


def conditions(result: dict[str, Any]) -> str:
    """Says what the figures were measured on."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores (load {machine['load_before']} before), Linux"
        f" {machine['kernel']}, Python {machine['python']}, {packages}. Medians of {result['turns']} turns of"
        f" {result['seconds']:g} s or a multiple."
    )


def table_of(contest: dict[str, Any]) -> str:
    """Returns a contest's medians."""
    rows = []
    for result in contest["results"]:
        spread = f"{number(min(result['values']))} to {number(max(result['values']))}" if result["values"] else ""
        note = ": ".join(filter(None, ["" if result["status"] == "measured" else result["status"], result["note"]]))
        name = f"**{result['name']}**" if result["kind"] == "ours" else result["name"]
        median = "" if result["median"] is None else number(result["median"])
        rows.append((name, median, spread, note.replace("|", "\\|")))
    return table(("who", contest["unit"], "least to most", "note"), rows)


def figure_row(figure: dict[str, Any]) -> tuple[str, ...]:
    """Returns a figure as a row."""
    if figure["value"] is None:
        return figure["text"], f"not known without {', '.join(figure['missing'])}", bound(figure), ""
    value = number(figure["value"]) + (f" {figure['unit']}" if figure["unit"] else "")
    if figure["quoted"]:
        value += f" (with a quoted figure: {', '.join(figure['quoted'])})"
    return figure["text"], value, bound(figure), {True: "yes", False: "**no**", None: ""}[figure["met"]]


def bound(figure: dict[str, Any]) -> str:
    """Returns a figure's bound in words."""
    limits = [("at least", figure["at_least"]), ("at most", figure["at_most"])]
    return ", ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Returns three digits that matter, and thousands with commas."""
    if abs(value) >= 999.5:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def draw(path: Path, contests: list[dict[str, Any]]) -> None:
    """Draws a chart per contest, one below the other: bars, or lines where contestants have a place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    heights = [3.2 if contest["axis"] else ROW * len(contest["results"]) + 1.0 for contest in contests]
    figure = Figure(figsize=(9, sum(heights)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(contests), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, contest in zip(axes, contests, strict=True):
        (draw_lines if contest["axis"] else draw_bars)(axis, contest)
        axis.set_title(
            f"{contest['title']} ({contest['unit']}, {contest['better']} is better)", loc="left", fontsize=10
        )
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    kinds = [kind for kind in COLORS if any(row["kind"] == kind for contest in contests for row in contest["results"])]
    handles = [Patch(color=COLORS[kind], label="aexp_torch" if kind == "ours" else kind) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(kinds), fontsize=8, frameon=False)
    figure.savefig(path)


def draw_bars(axis: Any, contest: dict[str, Any]) -> None:
    """Draws a bar per contestant that has a median, on a logarithmic scale where they are far apart."""
    rows = [result for result in contest["results"] if result["median"]]
    names = [f"{row['name']} ({row['status']})" if row["status"] == "quoted" else row["name"] for row in rows]
    medians = [row["median"] for row in rows]
    bars = axis.barh(range(len(rows)), medians, color=[COLORS[row["kind"]] for row in rows], height=0.7)
    axis.set_yticks(range(len(rows)), names)
    axis.invert_yaxis()
    if medians and max(medians) > 20 * min(medians):
        axis.set_xscale("log")
        axis.set_xlim(min(medians) / 2, max(medians) * 3)
    else:
        axis.set_xlim(0, max(medians, default=1) * 1.12)
    for bar, row in zip(bars, rows, strict=True):
        bar.set_alpha(0.4 if row["status"] == "quoted" else 1.0)
    axis.bar_label(bars, [number(median) for median in medians], padding=3, fontsize=8)


def draw_lines(axis: Any, contest: dict[str, Any]) -> None:
    """Draws a line per series."""
    for name in dict.fromkeys(result["series"] for result in contest["results"]):
        points = [row for row in contest["results"] if row["series"] == name and row["median"]]
        kind = next(row["kind"] for row in contest["results"] if row["series"] == name)
        style = "--" if "worker" in name else "-"
        axis.plot(
            [row["place"] for row in points],
            [row["median"] for row in points],
            style,
            marker="o",
            markersize=4,
            color=COLORS[kind],
            label=name,
        )
    places = sorted({row["place"] for row in contest["results"]})
    if places[-1] > 20 * max(places[0], 1):
        axis.set(xscale="log", yscale="log")
        axis.minorticks_off()
    else:
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set_xticks(places, [f"{place:,}" for place in places])
    axis.set_xlabel(contest["axis"], fontsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, frameon=False)
