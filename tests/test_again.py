"""That `make again` moves what it says, and notices what changes."""

import json
import os
import subprocess
import sys
import urllib.request

import nbformat
import numpy as np
import pytest
import yaml

from tests import again

VECTORS = """
import json, os, sys
sys.path.insert(0, os.getcwd())
import ragkit
encoder = ragkit.load_encoder("colbert")
print(json.dumps(encoder.encode_documents(["a spaceship", "two sisters"])[0].tolist()))
"""


def vectors(tmp_path, **environment):
    path = os.pathsep.join([str(again.ROOT / "tests" / "elsewhere"), str(again.ROOT)])
    own = {"PYTHONPATH": path, "RAGKIT_CACHE": str(tmp_path / str(len(environment))), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", VECTORS], capture_output=True, text=True, env=os.environ | own | environment, check=True
    )
    return np.array(json.loads(done.stdout), np.float32)


@pytest.mark.thorough
def test_noise_moves_every_vector_by_as_much_as_processors_do(tmp_path):
    still, moved = vectors(tmp_path), vectors(tmp_path, RAGKIT_NOISE="3e-7")
    assert 1e-8 < np.abs(still - moved).max() <= 4e-7


@pytest.mark.slow
def test_cores_are_what_edge_is_told():
    environment = os.environ | {"RAGKIT_CORES": "8", "PYTHONPATH": str(again.ROOT / "tests" / "elsewhere")}
    code = "from ragkit.engines.disk import segments; print(segments(10_000))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=again.ROOT)
    assert done.stdout == "8\n"


def test_words_choose_ways_and_files():
    ways, paths = again.chosen(["noise", "hash", "01_movies", "test_stats"])
    assert ways == ["noise", "hash"] and {path.name for path in paths} == {"01_movies.ipynb", "test_stats.py"}
    assert again.chosen([])[0] == list(again.WAYS)


def test_lessons_on_a_server_are_told_its_address(monkeypatch):
    monkeypatch.delenv("QDRANT_URL", raising=False)
    with again.surroundings_of("server") as own, urllib.request.urlopen(f"{own['QDRANT_URL']}/cluster") as answer:
        assert len(json.load(answer)["result"]["peers"]) == 3  # the stub
    monkeypatch.setenv("QDRANT_URL", "http://localhost:1")
    with again.surroundings_of("server") as own:
        assert own["QDRANT_URL"] == "http://localhost:1"


def test_the_workflow_goes_every_way():
    workflow = yaml.safe_load((again.ROOT / ".github" / "workflows" / "again.yml").read_text("utf8"))
    assert workflow["jobs"]["again"]["strategy"]["matrix"]["way"] == list(again.WAYS)


@pytest.mark.thorough
def test_a_lesson_whose_output_changes_is_listed_and_one_that_does_not_is_kept(tmp_path, monkeypatch, capsys):
    cell = nbformat.v4.new_code_cell("import os\nprint(os.cpu_count() == 8)", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="True\n")]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    path = again.ROOT / "build" / "again_test.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    monkeypatch.setattr(again, "targets", lambda: [path])
    monkeypatch.setattr(again, "KEPT", tmp_path / "again.json")
    try:
        assert again.main(["eight-cores"]) == 0 and again.main(["one-core"]) == 1
        printed = capsys.readouterr().out
        assert "eight-cores build/again_test.ipynb: as stored" in printed
        assert "one-core build/again_test.ipynb: changes" in printed and "Cell" in printed
        assert again.main(["eight-cores"]) == 0 and "as stored (kept)" in capsys.readouterr().out
    finally:
        path.unlink()
