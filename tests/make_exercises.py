"""Make the students' notebooks from the solutions: `python -m tests.make_exercises`, or `make exercises`."""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_notebook

SOLUTIONS = Path(__file__).resolve().parent.parent / "notebooks" / "solutions"
EXERCISES = SOLUTIONS.with_name("exercises")
CHECK = re.compile(r'^ragkit\.check\("(\d\d-[a-z])", (\w+)\)$')


def exercise(solution: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without its solution cells and outputs.

    A code cell tagged `solution` becomes a stub that sets the variable which the next check reads; a text cell tagged
    `solution`, which says what was found, is left out.
    """
    cells = []
    for i, cell in enumerate(solution.cells):
        cell = nbformat.from_dict(cell)
        mine = "solution" in cell.metadata.pop("tags", [])
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if mine:
                checked = next(filter(None, (CHECK.match(after.source) for after in solution.cells[i:])))
                cell.source = f"# your turn\n{checked[2]} = ..."
        elif mine:
            continue
        cells.append(cell)
    return new_notebook(cells=cells, metadata=solution.metadata)


if __name__ == "__main__":
    EXERCISES.mkdir(exist_ok=True)
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        nbformat.write(exercise(nbformat.read(path, as_version=4)), EXERCISES / path.name)
        print(path.name)
