"""Re-execute notebooks in place, top to bottom: `python -m tests.refresh [NOTEBOOK …]`."""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def refresh(path: Path) -> None:
    """Run a notebook and store its outputs, without anything that differs between two equal runs."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=1200,
        coalesce_streams=True,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):  # buttons need a kernel; their text form stays
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"  # progress is for people, not for stored outputs
    # Exercises stay as they are made: without outputs.
    everything = [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if path.parent.name != "exercises"]
    for notebook in [Path(name).resolve() for name in sys.argv[1:]] or everything:
        refresh(notebook)
