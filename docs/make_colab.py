"""Make the copies of lessons and exercises that Colab opens, and the table of docs/one-click.md: `make colab`.

The copies go to build/colab and, by a workflow, to the branch `colab`: the lessons themselves hold no %pip.
"""

import json
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from ragkit.course.lessons import absolute, without_outputs
from ragkit.files import write_text
from ragkit.paths import home, repository

DOCS = Path(__file__).resolve().parent
PAGE, BUILD = DOCS / "one-click.md", DOCS.parent / "build" / "colab"
BRANCH = "colab"


def sources() -> dict[str, Path]:
    """Return the lessons and the exercises by their path in notebooks/."""
    folder = home() / "notebooks"
    paths = [*sorted(folder.glob("[0-9]*.ipynb")), *sorted((folder / "exercises").glob("[0-9]*.ipynb"))]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def install() -> str:
    """Return the one line that a copy begins with."""
    return f'%pip install --quiet "ragkit @ git+{repository()}"'


def colab(name: str) -> str:
    """Return the address at which Colab opens a copy."""
    place = repository().removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/{quote(name)}"


def copy(name: str) -> str:
    """Return a notebook for Colab: without outputs, a first cell that installs, and links that lead somewhere there."""
    known = sources()

    def lead(link: re.Match) -> str:
        target = (PurePosixPath(name).parent / link[1]).as_posix().replace("exercises/../", "")
        return f"]({colab(target) if target in known else f'{repository()}/blob/main/notebooks/{target}'}"

    notebook = json.loads(without_outputs(absolute(known[name].read_text("utf8"), name)))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"\]\((?!https?:|#|attachment:)([^)#\s]+)", lead, "".join(cell["source"]))
            cell["source"] = text.splitlines(keepends=True)
    first = {"cell_type": "code", "execution_count": None, "id": "install", "metadata": {}, "outputs": []}
    notebook["cells"].insert(0, first | {"source": [install()]})
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def page(text: str) -> str:
    """Return docs/one-click.md with the table of badges between its marks."""
    place = repository().removeprefix("https://github.com/")
    codespace = f"https://codespaces.new/{place}"
    lines = ["| lesson | | | |", "| --- | --- | --- | --- |"]
    for name in sources():
        if "/" in name:
            continue
        binder = f"https://mybinder.org/v2/gh/{place}/HEAD?labpath={quote(f'notebooks/{name}', safe='')}"
        badges = {"colab": colab(name), "binder": binder, "codespace": codespace}
        cells = (f"[![{kind.title()}](img/badge-{kind}.svg)]({address})" for kind, address in badges.items())
        lines.append(f"| [{PurePosixPath(name).stem}](../notebooks/{name}) | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    return re.sub(r"(<!-- badges -->\n).*?(<!-- /badges -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)


def main() -> None:
    """Write the copies and the page."""
    for name in sources():
        write_text(BUILD / name, copy(name))
    write_text(PAGE, page(PAGE.read_text("utf8")))
    print(f"{len(sources())} copies in {BUILD}; {PAGE}")


if __name__ == "__main__":
    main()
