"""The project around the code: one lock for everyone, a README that is true, nobody's paths."""

import importlib.util
import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

from ragkit.bench.rivals import RIVALS

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.txt").read_text("utf8")


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_lock_pins_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
    lab = project["project"]["optional-dependencies"]["lab"]
    wanted = project["project"]["dependencies"] + lab + project["dependency-groups"]["dev"]
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", LOCK, re.MULTILINE))
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group().lower().replace("_", "-")
        assert name in pinned, f"{name} is not in requirements.txt; run: make lock"
    assert {"jupyterlab", "fastembed", "qdrant-client", "pandas", "matplotlib", "ir-measures", "nbval"} <= pinned
    assert "://" not in LOCK


PEERS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("requirements-peers/*.txt"))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-extras.txt", "requirements-site.txt", *PEERS])
def test_every_pin_has_the_checksums_of_its_files(name):
    pinned = [parts for parts in re.split(r"\n(?=\S)", (ROOT / name).read_text("utf8").strip()) if parts]
    assert len(pinned) > (0 if name in PEERS else 50)
    for text in pinned:
        head, *hashes = text.split(" \\\n    ")
        assert re.match(r"[a-z0-9._-]+==\S+( ; .+)?$", head), head
        assert hashes and all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", item) for item in hashes), head


def test_what_makes_the_lock_and_what_installs_it_ask_for_checksums():
    made = (ROOT / "Makefile").read_text("utf8")
    assert made.count("uv pip compile") == made.count("--generate-hashes") == 4
    installs = [line for line in made.splitlines() if re.search(r"pip install .*-r (requirements|\$\$lock)", line)]
    assert len(installs) == 4 and all("--require-hashes" in line for line in installs)


def test_every_rival_of_the_bench_is_in_a_lock():
    locks = "\n".join((ROOT / name).read_text("utf8") for name in ("requirements.txt", *PEERS))
    for rival in RIVALS:
        assert re.search(rf"^{rival.package}==", locks, re.MULTILINE), f"{rival.package} is in no lock; run: make lock"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
    groups = sorted(name for name in project["dependency-groups"] if name.startswith("peer-"))
    assert [f"requirements-peers/{name.removeprefix('peer-')}.txt" for name in groups] == PEERS


def test_what_runs_is_what_is_pinned():
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
    pins = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    wrong = {n: (installed[n], v) for n, v in pins.items() if n in installed and installed[n] not in v}
    assert not wrong, "run: make setup"


def test_conda_users_get_the_same_pins():
    text = (ROOT / "environment.yml").read_text("utf8")
    assert "-r requirements.txt" in text and "==" not in text


def test_the_project_holds_no_ones_paths_or_hosts():
    secret = re.compile(r"/work/|/root/|/tmp/w|shared/(style|design|reference|models)|\.library", re.ASCII)
    for path in tracked():
        if path.suffix in {".onnx", ".png"} or path.name in {"tokenizer.json", Path(__file__).name}:
            continue
        found = secret.search(path.read_text("utf8", errors="replace"))
        assert not found, f"{path.relative_to(ROOT)} holds {found.group()!r}"


def test_no_file_of_the_corpus_is_committed():
    names = [path.name for path in tracked()]
    assert "corpus.jsonl" not in names and not [n for n in names if n.endswith(".zip")]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_readme_and_the_ledger_are_the_committed_runs():
    made = script("make_results")
    readme = (ROOT / "README.md").read_text("utf8")
    assert made.readme(readme) == readme and "| `dense→colbert` | 0." in readme
    assert made.ledger() == (ROOT / "docs" / "results.md").read_text("utf8")


def test_results_from_before_a_datasets_name_was_called_so_are_read(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    for name in ("movies.json", "bench-embed.json"):
        text = (ROOT / "docs" / "results" / name).read_text("utf8")
        (tmp_path / "results" / name).write_text(text.replace('"dataset": ', '"collection": '), "utf8")
    results, scale = script("make_results"), script("make_scale")
    for made in (results, scale):
        monkeypatch.setattr(made, "DOCS", tmp_path)
    assert results.stored(results._read("movies.json")).dataset == "movies"
    assert "scifact, mixed lengths: ragkit" in scale.embed()


def test_what_is_said_of_scale_is_the_committed_benches():
    made = script("make_scale")
    text = (ROOT / "docs" / "scale.md").read_text("utf8")
    assert made.render(text) == text and "| muvera-binary→colbert @100 | " in text
    readme = (ROOT / "README.md").read_text("utf8")
    assert made.render(readme, [made.beside]) == readme and "Of those with 99% of the exact nDCG@10" in readme
    assert made.spread({"ms": 2.0, "ms_min": 1.0, "ms_max": 4.0}, "ms", "{:.1f}") == "2.0 (1.0 to 4.0)"
    assert made.exponent([10, 100], [2.0, 20.0]) == 1 and made.exponent([10, 100], [2.0, 2.0]) == 0


def test_ten_million_documents_are_worked_out_from_bytes_a_document(monkeypatch):
    made = script("make_scale")
    first = {"what": made.FIRST_STAGE, "bytes": 4_000.0, "disk_bytes": 6_000.0, "of_exact": 0.99}
    rerank = {"what": made.RERANK, "bytes": 10_000.0, "disk_bytes": 12_000.0, "of_exact": 1.0}
    embedded = [{"what": "FastEmbed embed()", "documents_per_s": 1.0}, {"what": "ragkit", "documents_per_s": 20.0}]
    benches = {"index": {"rows": [{"what": "colbert, local mode"}, first, rerank]}, "embed": {"rows": embedded}}
    monkeypatch.setattr(made, "read", benches.__getitem__)
    # bytes × 10 million × 2 replicas; 48 GB of a node's 64 may be used, and there are at least three nodes
    table = made.ten_million()
    assert f"| {made.FIRST_STAGE} | 4,000 | 80 | 120 | 3 | 99.0% |" in table
    assert f"| {made.RERANK} | 10,000 | 200 | 240 | 5 | 100.0% |" in table and "local mode" not in table
    cells = [line.split(" | ")[-1].strip(" |") for line in made.chosen().splitlines()[2:]]
    assert cells == ["80 GB", "3", "360 GB", "1.00 MB, 0.5 ms at 2 GB/s", "278 core-hours"]


def test_the_ledger_names_a_cause_for_every_drift():
    text = (ROOT / "docs" / "results.md").read_text("utf8")
    rows = re.findall(r"^\| `[^|]+\| 0\.\d+ \| 0\.\d+ \| ([+-]0\.\d+) \| ([^|]+) \|", text, re.MULTILINE)
    assert len(rows) >= 6
    assert all("with" in cause for gap, cause in rows if abs(float(gap)) > 0.005)


@pytest.mark.slow
def test_the_readmes_python_runs(capsys):
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf8"), re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})
    assert "dense→colbert" in capsys.readouterr().out


def test_every_file_that_the_readme_links_to_is_there():
    for source in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", source.read_text("utf8")):
            assert (source.parent / target).exists(), f"{source.name} links to {target}"


def test_a_maker_that_is_stopped_leaves_the_committed_file_as_it_was(tmp_path, monkeypatch):
    made, picture = script("make_pictures"), tmp_path / "three-ways.png"
    picture.write_bytes(b"the committed picture")
    monkeypatch.setattr(made, "IMAGES", tmp_path)

    def stopped(figure, path, **options):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.main()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {picture.name: b"the committed picture"}


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("m*.py")), ids=lambda path: path.stem)
def test_what_the_makers_write_is_written_whole(path):
    """make_site's pages go to a folder of their own, which is made anew."""
    torn = re.findall(r"\.write_(?:text|bytes)\(|savefig\((?!stage)", path.read_text("utf8"))
    assert not torn or path.stem == "make_site"
