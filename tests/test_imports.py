"""Imports run one way: a module may import only those on lines above its own."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ragkit"
ORDER = [
    ["errors", "paths", "progress"],
    [
        "cache",
        "maxsim",
        "beir",
        "embedded",
        "index_base",
        "stats",
        "trec",
        "memory",
        "race",
        "canvas",
        "delimited",
        "mirror",
        "wheels",
    ],
    ["options", "connection"],
    ["collection", "wire"],
    ["cached", "datasets", "client", "edge", "bm25"],
    ["importing"],
    ["judging"],
    ["assess"],
    ["server"],
    ["encoders", "pooling", "muvera", "index"],
    ["variants", "retrieve", "rescore"],
    ["ingest"],
    ["evaluate"],
    ["show", "plots", "experiment", "doctor", "prefetch"],
    ["report", "bench_search", "bench_embed", "bench_index", "explorer"],
    ["answers"],
    ["checks_basics"],
    ["checks_compare", "checks_cost", "checks_own"],
    ["exercises"],
    ["bench_scale"],
    ["__init__"],
    ["commands"],
    ["__main__"],
]
HEAVY = {
    "fastembed": {"embedded", "encoders", "bench_embed", "muvera", "rescore"},
    "qdrant_client": {"client", "collection", "connection", "index", "server"},
    "qdrant_edge": {"edge", "bm25"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module == "ragkit":
                yield from (f"ragkit.{alias.name}" for alias in node.names)


def test_every_module_has_its_place():
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == sorted(sum(ORDER, []))


def test_imports_run_one_way():
    level = {name: i for i, names in enumerate(ORDER) for name in names}
    for path in PACKAGE.glob("*.py"):
        for target in imports(path):
            parts = target.split(".")
            if parts[0] == "ragkit" and len(parts) > 1 and parts[1] in level:
                assert level[parts[1]] < level[path.stem], f"{path.name} imports {target}"


def test_heavy_libraries_are_imported_in_their_own_rooms():
    for path in PACKAGE.glob("*.py"):
        for target in imports(path):
            allowed = HEAVY.get(target.split(".")[0])
            assert allowed is None or path.stem in allowed, f"{path.name} imports {target}"
