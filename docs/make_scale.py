"""Measure what docs/scale.md shows: `make bench`; `--render` writes its tables anew from docs/results/."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ragkit.bench.peers import REACHED, called, winners
from ragkit.display import plots
from ragkit.files import whole, write_text

DOCS = Path(__file__).resolve().parent
BENCHES = ("embed", "search", "index", "scale", "proof", "peers")
# Where `small` was chosen, and where it was tried.
SMALL = ("scifact", "cranfield")
# The dataset that docs/scale.md works out, and a node of it.
DOCUMENTS, REPLICAS = 10_000_000, 2
NODE_GB, USABLE = 64, 0.75  # memory of a node, and the part of it that vectors may take
NVME_GB_S = 2.0  # what a disk that is read at random in blocks of tens of kilobytes gives; an assumption
OURS = ("Qdrant Edge, by the kit", "Qdrant's local mode")  # their versions are the machine's
FIRST_STAGE, RERANK, DEPTH = "dense-small-hnsw", "colbert-small", 100


def read(name: str) -> dict:
    text = (DOCS / "results" / f"bench-{name}.json").read_text("utf8")
    return json.loads(text.replace('"collection": ', '"dataset": '))  # the key's name before


def rows(head: list[str], cells: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in cells])


def spread(row: dict, name: str, form: str) -> str:
    """Return a median with its minimum and maximum.

    >>> spread({"ms": 2.0, "ms_min": 1.0, "ms_max": 4.0}, "ms", "{:.1f}")
    '2.0 (1.0 to 4.0)'
    """
    middle, low, high = (form.format(row[name + end]) for end in ("", "_min", "_max"))
    return f"{middle} ({low} to {high})"


def ran(name: str) -> str:
    bench = read(name)
    on = ", ".join(f"{key} {value}" for key, value in bench["machine"].items())
    when = f" on {bench['date']}" if "date" in bench else ""
    return f"`{bench['command']}`{when}: {bench['documents']:,} documents of {bench['dataset']}; {on}."


def search() -> str:
    cells = []
    for row in read("search")["rows"]:
        quality = [f"{row['nDCG@10']:.4f}", f"{row['of_exact']:.1%}", row["same_top_10"]] if "nDCG@10" in row else []
        times = [spread(row, "ms", "{:.1f}"), spread(row, "times_as_fast", "{:.1f}")]
        cells.append([row["what"], *times, *(quality or ["", "", ""])])
    head = ["", "ms a query", "times as fast as local mode", "nDCG@10", "of exact", "same ten best"]
    return f"{rows(head, cells)}\n\n{ran('search')}"


def embed() -> str:
    head = ["", "documents", "documents/s", "times as fast as FastEmbed's default", "memory, MB"]
    cells = [
        [
            f"{row['dataset']}: {row['what']}",
            str(row["documents"]),
            f"{row['documents_per_s']:.1f}",
            spread(row, "times_as_fast", "{:.2f}"),
            f"{row['memory_mb']:,.0f}",
        ]
        for row in read("embed")["rows"]
    ]
    return f"{rows(head, cells)}\n\n{ran('embed')}"


def index() -> str:
    head = [
        "",
        "seconds",
        "CPU s",
        "peak memory, MB",
        "bytes searched",
        "float32 over it",
        "bytes on disk",
        "nDCG@10",
        "of exact",
    ]
    cells = []
    for row in read("index")["rows"]:
        cell = [
            row["what"],
            spread(row, "seconds", "{:.1f}"),
            f"{row['cpu_seconds']:.1f}" if "cpu_seconds" in row else "",
        ]
        cell += [f"{row['peak_memory_mb']:,.0f}"]
        if "bytes" in row:
            cell += [f"{row['bytes']:,.0f}", f"{row['bytes_ratio']:.1f}", f"{row['disk_bytes']:,.0f}"]
            cell += [f"{row['nDCG@10']:.4f}", f"{row['of_exact']:.1%}"]
        cells.append(cell + [""] * (len(head) - len(cell)))
    return f"{rows(head, cells)}\n\n{ran('index')}"


def proof() -> str:
    cells = [
        [row["what"], f"{row['rows']:.0%}", row["bound"], f"{row['depth']:,}", f"{row['proven']:.0%}"]
        for row in read("proof")["rows"]
    ]
    head = ["", "rows left", "bound", "depth of the exact rerank", "queries whose first ten are proven"]
    return f"{rows(head, cells)}\n\n{ran('proof')}"


def small_command(name: str) -> list[str]:
    systems = "colbert,colbert-small,dense-small+colbert-small"
    return ["compare", name, "--docs", "all", "--systems", systems, "--json", f"docs/results/small-{name}.json"]


def small() -> str:
    """Return what is recommended beside exact ColBERT, on the dataset it was chosen on and on another."""
    cells, commands = [], [" ".join(["python -m ragkit", *small_command(name)]) for name in SMALL]
    for name in SMALL:
        run = json.loads((DOCS / "results" / f"small-{name}.json").read_text("utf8"))
        for system in run["systems"]:
            found = system["evidence"]["nDCG@10"]
            ends = [found[key] for key in ("difference", "difference_low", "difference_high")]
            loss = "" if ends[0] is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(*ends)
            cells.append(
                [name, system["system"], f"{system['nDCG@10']:.3f}", loss, f"{system['R@100']:.3f}"]
                + [f"{system['disk_bytes_per_document']:,.0f}"]
            )
    head = ["dataset", "system", "nDCG@10", "difference (95 %)", "R@100", "bytes per document on disk"]
    return f"{rows(head, cells)}\n\n" + "; ".join(f"`{command}`" for command in commands) + "."


def curves() -> dict[str, tuple[list[int], list[float]]]:
    """Return, for each system, the numbers of documents and the median milliseconds a query."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in read("scale")["rows"]:
        sizes, ms = found.setdefault(row["what"], ([], []))
        sizes.append(row["documents"])
        ms.append(row["ms"])
    return found


def exponent(sizes: list[int], ms: list[float]) -> float:
    """Return how time grows from the first size to the last: 1 in step with the documents, 0 not at all.

    A step between two sizes would say less: they are measured some minutes apart, and machines are shared.

    >>> exponent([10, 50, 1000], [2.0, 90.0, 200.0])
    1.0
    """
    return float(np.log(ms[-1] / ms[0]) / np.log(sizes[-1] / sizes[0]))


def growth(sizes: list[int], values: list[float]) -> str:
    """Return how values grow, as a power of the documents and in times.

    >>> growth([10, 1000], [2.0, 20.0])
    'documents^0.50, 10 times'
    """
    return f"documents^{exponent(sizes, values):.2f}, {values[-1] / values[0]:.2g} times"


def scale() -> str:
    found = curves()
    sizes = next(iter(found.values()))[0]
    head = ["ms a query (median)", *(f"{size:,}" for size in sizes), "growth, first size to last"]
    cells = [[what, *(f"{t:.1f}" for t in ms), growth(n, ms)] for what, (n, ms) in found.items()]
    whole = {row["documents"]: row for row in read("scale")["rows"]}
    for name, title in (
        ("index_s", "all vectors: seconds to index"),
        ("memory_mb", "all: resident, MB"),
        ("disk_mb", "all: disk, MB"),
    ):
        values = [whole[size][name] for size in sizes]
        cells.append([title, *(f"{value:,.0f}" for value in values), growth(sizes, values)])
    return f"{rows(head, cells)}\n\n{ran('scale')}"


def ten_million() -> str:
    """Return what each way to keep ColBERT takes for DOCUMENTS, from its measured bytes a document."""
    cells = []
    for row in read("index")["rows"]:
        if "bytes" in row:
            memory, disk = (row[name] * DOCUMENTS * REPLICAS / 1e9 for name in ("bytes", "disk_bytes"))
            nodes = max(3, int(np.ceil(memory / (NODE_GB * USABLE))))
            cells.append(
                [
                    row["what"],
                    f"{row['bytes']:,.0f}",
                    f"{memory:,.0f}",
                    f"{disk:,.0f}",
                    str(nodes),
                    f"{row['of_exact']:.1%}",
                ]
            )
    head = [
        "searched from memory",
        "bytes per document",
        "memory, GB",
        "disk, GB",
        f"nodes of {NODE_GB} GB",
        "nDCG@10 of exact, on SciFact",
    ]
    return rows(head, cells)


def chosen() -> str:
    """Return the arithmetic of a cheap first stage in memory with a rerank from disk."""
    by_name = {row["what"]: row for row in read("index")["rows"]}
    first, rerank = by_name[FIRST_STAGE], by_name[RERANK]
    embedded = next(row for row in read("embed")["rows"] if row["what"] == "ragkit")
    memory = first["bytes"] * DOCUMENTS * REPLICAS / 1e9
    disk = (first["disk_bytes"] + rerank["disk_bytes"]) * DOCUMENTS * REPLICAS / 1e9
    read_mb = DEPTH * rerank["bytes"] / 1e6
    cells = [
        [
            "first stage in memory",
            f"{first['bytes']:,.0f} B × {DOCUMENTS:,} × {REPLICAS} replicas",
            f"{memory:,.0f} GB",
        ],
        [
            "nodes",
            f"{memory:,.0f} GB ÷ ({NODE_GB} GB × {USABLE:g}), at least 3",
            f"{max(3, int(np.ceil(memory / (NODE_GB * USABLE))))}",
        ],
        [
            "disk, all nodes",
            f"({first['disk_bytes']:,.0f} + {rerank['disk_bytes']:,.0f}) B × {DOCUMENTS:,} × {REPLICAS}",
            f"{disk:,.0f} GB",
        ],
        [
            "read from disk a query",
            f"{DEPTH} × {rerank['bytes']:,.0f} B",
            f"{read_mb:.2f} MB, {read_mb / NVME_GB_S:.1f} ms at {NVME_GB_S:g} GB/s",
        ],
        [
            "embedding",
            f"{DOCUMENTS:,} ÷ {embedded['documents_per_s']:.0f} a second on 2 cores",
            f"{DOCUMENTS / embedded['documents_per_s'] / 3600 * 2:,.0f} core-hours",
        ],
    ]
    return rows(["", "from the tables above", ""], cells)


def peers() -> str:
    head = [
        "",
        "nDCG@10",
        "of exact",
        "R@100",
        "ms a query, p50 and p95",
        "with encoding",
        "bytes per document on disk",
        "build, CPU s",
        "build, s",
        "memory, MB",
    ]
    cells = []
    for row in read("peers")["rows"]:
        cell = [f"{called(row)}: {row['note']}" if row["note"] else called(row)]
        if "nDCG@10" in row:
            kept = row["disk_bytes_per_document"]
            cell += [f"{row['nDCG@10']:.4f}", f"{row['of_exact']:.1%}", f"{row['R@100']:.3f}"]
            cell += [f"{row[f'p50_{name}']:.1f}, {row[f'p95_{name}']:.1f}" for name in ("ms", "encoded_ms")]
            cell += ["keeps nothing" if kept is None else f"{kept:,.0f}", f"{row['build_cpu_s']:.1f}"]
            cell += [f"{row['build_s']:.1f}", f"{row['memory_MB']:,.0f}"]
        cells.append(cell + [""] * (len(head) - len(cell)))
    measured = [row for row in read("peers")["rows"] if "version" in row and row["family"] not in OURS]
    versions = {row["what"]: row["version"] for row in measured}
    return f"{rows(head, cells)}\n\n{ran('peers')[:-1]}; {', '.join(f'{k} {v}' for k, v in versions.items())}."


def peers_won() -> str:
    """Return who is best in each column, of those with REACHED of the exact nDCG@10."""
    names = {
        "p50_ms": "ms a query, p50",
        "p95_ms": "p95",
        "p50_encoded_ms": "with encoding, p50",
        "p95_encoded_ms": "with encoding, p95",
        "disk_bytes_per_document": "bytes per document on disk",
        "build_cpu_s": "build, CPU s",
        "build_s": "build, s",
        "memory_MB": "memory, MB",
    }
    best = winners(read("peers")["rows"])
    cells = [[names.get(column, column), ", ".join(who)] for column, who in best.items()]
    return rows([f"with {REACHED:.0%} of the exact nDCG@10", "best"], cells)


def peers_picture() -> None:
    """Draw quality against time, bytes as area, of who was right and had time for all queries; labels hide nothing."""
    found = [row for row in read("peers")["rows"] if "nDCG@10" in row and not row["left"] and not row["wrong"]]
    families = list(dict.fromkeys(row["family"] for row in found))
    figure, ax = plt.subplots(figsize=(10, 6.5), layout="constrained")
    for family, marker in zip(families, "osDv^P*X", strict=False):
        own = [row for row in found if row["family"] == family]
        area = [marker_area(row) for row in own]
        x, y = [row["p50_ms"] for row in own], [row["nDCG@10"] for row in own]
        points = ax.scatter(x, y, area, marker=marker, alpha=0.6, label=family)
        points.set_edgecolor("white")
    ax.set(xscale="log", xlabel="milliseconds a query, without encoding (p50)", ylabel="nDCG@10")
    title = f"{read('peers')['dataset']}: quality against time; the area is bytes per document on disk"
    ax.set_title(title, loc="left", fontsize=11)
    ax.margins(0.12)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    legend = ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4)
    for handle in legend.legend_handles:
        handle.set_sizes([50])
    figure.canvas.draw()
    taken = [ax.transData.transform((row["p50_ms"], row["nDCG@10"])) for row in found]
    sides = [np.sqrt(marker_area(row)) * figure.dpi / 72 for row in found]
    boxes = [Bbox.from_bounds(x - s / 2, y - s / 2, s, s) for (x, y), s in zip(taken, sides, strict=True)]
    for row in sorted(found, key=lambda row: row["p50_ms"]):
        text = row["what"] + ("" if row["setting"] == "default" else " (chosen)")
        boxes.append(label(ax, (row["p50_ms"], row["nDCG@10"]), text, boxes))
    with whole(DOCS / "img" / "peers.png") as stage:
        figure.savefig(stage, dpi=150)


def beside() -> str:
    """Return the README's three sentences on who won."""
    found = read("peers")
    best = winners(found["rows"])

    def who(column: str, form: str) -> str:
        values = {name: row[column] for row in found["rows"] if column in row for name in (row["what"], called(row))}
        return ", ".join(f"`{name}` ({form.format(values[name])})" for name in best[column])

    others = [row for row in found["rows"] if row["family"] not in OURS]
    ran = {row["what"] for row in others if "nDCG@10" in row}
    absent = [row["what"] for row in found["rows"] if "nDCG@10" not in row]
    without = f" (not {', '.join(absent)}: the table says why)" if absent else ""
    rival = min((row for row in others if row.get("of_exact", 0) >= REACHED), key=lambda row: row["p50_ms"])
    return (
        f"`make peers` and `bench peers` put the kit beside {len(ran)} other ways to search the same vectors{without}: "
        f"[the table](docs/scale.md#beside-other-engines), of {found['documents']:,} documents.\n"
        f"Of those with {REACHED:.0%} of the exact nDCG@10, the best ranking is that of {who('nDCG@10', '{:.3f}')}, "
        f"the fastest from a query's vectors on {who('p50_ms', '{:.1f} ms, p50')}, with encoding "
        f"{who('p50_encoded_ms', '{:.1f} ms')}, and the smallest on disk "
        f"{who('disk_bytes_per_document', '{:,.0f} bytes per document')}.\n"
        f"The fastest of them that is not the kit's is `{called(rival)}` ({rival['p50_ms']:.1f} ms, "
        f"{rival['disk_bytes_per_document']:,.0f} bytes per document, nDCG@10 {rival['nDCG@10']:.3f})"
        f"{', a setting that was chosen on these queries' if rival['setting'] != 'default' else ''}."
    )


def marker_area(row: dict) -> float:
    return max(30, (row["disk_bytes_per_document"] or 0) / 200)


def label(ax, point: tuple[float, float], text: str, boxes: list[Bbox]) -> Bbox:
    """Write a text beside a point, the nearest place where it meets none of the boxes; return its own."""
    for distance in (12, 22, 34, 48, 64, 82, 102, 124, 150, 180):
        for angle in np.radians((0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200)):
            shift = distance * np.array([np.cos(angle), np.sin(angle)])
            side = "left" if shift[0] > 1 else "right" if shift[0] < -1 else "center"
            line = {"arrowstyle": "-", "color": "grey", "lw": 0.5} if distance > 22 else None
            note = ax.annotate(
                text, point, shift, textcoords="offset points", ha=side, va="center", fontsize=8, arrowprops=line
            )
            note.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})
            note.update_positions(ax.figure.canvas.get_renderer())
            box = Text.get_window_extent(note).padded(2)  # without the line
            inside = ax.get_window_extent().padded(1)
            if inside.contains(*box.min) and inside.contains(*box.max) and not any(box.overlaps(b) for b in boxes):
                return box
            note.remove()
    raise AssertionError(f"docs/img/peers.png has no place for {text!r}")


def server() -> str:
    """Return a server's pace with one to sixteen clients at once."""
    head = ["", "clients", "queries/s", "p50, ms", "p95, ms", "p99, ms", "errors", "equal answers", "sent again"]
    cells = [
        [row["system"], str(row["clients"]), f"{row['queries_per_s']:,.0f}"]
        + [f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
        + [str(row["errors"]), f"{row['equal']} of {row['queries']}", str(sum(row["sent_again"].values()))]
        for row in read("server")["rows"]
    ]
    return f"{rows(head, cells)}\n\n{ran('server')}"


def server_picture() -> None:
    """Draw queries a second against p95, a line a system, a mark for each number of clients."""
    found = read("server")["rows"]
    figure, ax = plt.subplots(figsize=(8, 5.5), layout="constrained")
    for name in dict.fromkeys(row["system"] for row in found):
        own = [row for row in found if row["system"] == name]
        pace, p95 = [row["queries_per_s"] for row in own], [row["p95_ms"] for row in own]
        ax.plot(pace, p95, marker=plots.marker(name), color=plots.colour(name), label=name)
    ax.set(xscale="log", yscale="log", xlabel="queries a second, all clients", ylabel="milliseconds a query (p95)")
    few, many = own[0]["clients"], own[-1]["clients"]
    ax.set_title(f"One Qdrant node: {few} client (low end) to {many} at once (high end)", loc="left", fontsize=11)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    with whole(DOCS / "img" / "server.png") as stage:
        figure.savefig(stage, dpi=150)


def picture() -> None:
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    for (what, (sizes, ms)), marker in zip(curves().items(), "osD^vP", strict=True):
        ax.plot(sizes, ms, marker=marker, label=f"{what}: documents^{exponent(sizes, ms):.2f}")
    ax.set(xscale="log", yscale="log", xlabel="documents", ylabel="milliseconds a query (median)")
    ax.set_title("Qdrant Edge, 2 cores: what grows with the documents, and what hardly does", loc="left", fontsize=11)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    with whole(DOCS / "img" / "scale.png") as stage:
        figure.savefig(stage, dpi=150)


TABLES = (search, proof, embed, index, small, scale, ten_million, chosen, peers, peers_won, server)


def render(text: str, tables: Sequence[Callable[[], str]] = TABLES) -> str:
    """Return a text, docs/scale.md's unless told, with the tables of docs/results/bench-*.json between their marks."""
    for table in tables:
        pattern = rf"(<!-- {table.__name__} -->\n).*?(<!-- /{table.__name__} -->)"
        made = table()
        text, count = re.subn(pattern, lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text, flags=re.DOTALL)
        assert count == 1, f"the text has no place for {table.__name__}"
    return text


def main() -> None:
    """Run the benches (unless only asked to render), then write the tables and the picture."""
    if "--render" not in sys.argv[1:]:
        for name in (*BENCHES, *(["server"] if os.environ.get("QDRANT_URL") else [])):
            out = str(DOCS / "results" / f"bench-{name}.json")
            subprocess.run([sys.executable, "-m", "ragkit", "bench", name, "--json", out], check=True)
        for name in SMALL:
            subprocess.run([sys.executable, "-m", "ragkit", *small_command(name)], check=True, cwd=DOCS.parent)
    for path, tables in ((DOCS / "scale.md", TABLES), (DOCS.parent / "README.md", (beside,))):
        write_text(path, render(path.read_text("utf8"), tables))
    picture()
    peers_picture()
    server_picture()


if __name__ == "__main__":
    main()
