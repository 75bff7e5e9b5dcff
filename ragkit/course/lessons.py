"""A copy of the lessons to work in."""

import json
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ragkit.boundary import public
from ragkit.errors import RagkitError
from ragkit.files import expanded, whole_folder, write_text
from ragkit.paths import home, repository, restoring

RUN = "solutions"  # keep their outputs: they are there to be read


@public("The lessons cannot be copied")
def copy_lessons(to: str | Path) -> bool:
    """Make a folder with the lessons and exercises, without outputs, and the solutions; return whether it was made.

    A folder that holds the lessons already is left as it is, whatever was done in them. Raises RagkitError for a
    folder that holds anything else, and one that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     copy_lessons(f"{folder}/lessons"), copy_lessons(f"{folder}/lessons")
    (True, False)
    """
    to, source = expanded(to), home() / "notebooks"
    names = list(_names(source))
    if not names:
        raise RagkitError(f"{source} holds no lessons; restore them with: {restoring('notebooks')}.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        lessons = [name for name in names if "/" not in name]
        if all((to / name).is_file() for name in lessons):
            return False
        raise RagkitError(
            f"{to} is there and holds no copy of the lessons; expected the name of a new folder, or an empty one."
        )
    with whole_folder(to) as stage:
        for name in names:
            if name.endswith(".ipynb") and not name.startswith(f"{RUN}/"):
                write_text(stage / name, without_outputs(absolute((source / name).read_text("utf8"), name)))
            elif name.endswith((".ipynb", ".md")):
                write_text(stage / name, absolute((source / name).read_text("utf8"), name))
            else:
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, stage / name)
    return True


def _names(source: Path) -> Iterator[str]:
    """Yield the paths of the lessons and what stands beside them, with slashes, without what Jupyter leaves behind."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def absolute(text: str, name: str) -> str:
    """Return the text of notebooks/NAME with links out of that folder as addresses in the public repository.

    >>> absolute("[a guide](../docs/workshop.md), [lesson 01](01_movies.ipynb)", "00.ipynb").replace(repository(), "…")
    '[a guide](…/blob/main/docs/workshop.md), [lesson 01](01_movies.ipynb)'
    """
    here = PurePosixPath("notebooks", name).parent

    def lead(link: re.Match) -> str:
        target = posixpath.normpath(here / link[1])
        return link[0] if target.startswith("notebooks") else f"]({repository()}/blob/main/{target}"

    return re.sub(r"\]\((\.\./[^)#\s]*)", lead, text)


def without_outputs(text: str) -> str:
    """Return a notebook's JSON as if it had never been run.

    >>> text = '{"cells": [{"cell_type": "code", "execution_count": 3, "outputs": ["…"]}]}'
    >>> json.loads(without_outputs(text))["cells"]
    [{'cell_type': 'code', 'execution_count': None, 'outputs': []}]
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
