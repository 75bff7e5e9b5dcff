"""Build the site in a folder (default build/site) from what is in the repository: `python docs/make_site.py [FOLDER]`.

Sources are copied into a folder beside it, because two things differ on a site: README.md is its folder's index, and
nothing is loaded from another host. Notebooks keep their stored outputs; none is run.
"""

import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

from sphinx.cmd.build import build_main

import ragkit

ROOT = Path(__file__).resolve().parent.parent
# What is in the sidebar, in its order; a pattern that matches nothing yet is no fault.
PARTS = {
    "Lessons": ["notebooks/README.md", "notebooks/*.ipynb", "notebooks/*.md"],
    "Appendix": ["notebooks/appendix/*.ipynb"],
    "Exercises": ["notebooks/exercises/*.ipynb"],
    "For teachers": ["docs/workshop.md"],
    "Results": ["docs/results.md", "docs/scale.md", "docs/shards.md", "docs/reliability.md", "docs/mutants.md"],
    "API": [],  # made here
    "How it is made": [
        *("docs/architecture.md", "docs/*.md", "data/README.md", "data/*.md", "data/models/README.md"),
        *("data/models/*/README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    ],
}
_LINK = re.compile(r"(!?)\[((?:\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\(([^)\s]*)\)")
_REMOTE_IMAGE = re.compile(r"""<img\b[^>]*\bsrc=["'](?:https?:)?//[^>]*>""")


def stage(to: Path) -> None:
    """Copy what the site is made of into an empty folder, with the pages of the API."""
    documents, placed = {}, set()
    for part, globs in PARTS.items():
        found = [path for glob in globs for path in sorted(ROOT.glob(glob))]
        documents[part] = [path for path in dict.fromkeys(found) if path not in placed]
        placed |= set(found)
    below = {path: path.parents[1] / "solutions" / path.name for path in documents["Exercises"]}
    pages = [ROOT / "README.md", *(path for part in documents.values() for path in part), *below.values()]
    for path in pages:
        target = to / page_of(path.relative_to(ROOT))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf8")
        if path.suffix == ".ipynb":
            content = notebook(json.loads(text), path.parent, to)
            if path in below:
                content["cells"].append(markdown_cell(toctree([f"Solved <../solutions/{path.stem}>"])))
            target.write_text(json.dumps(content, ensure_ascii=False), "utf8")
        else:
            text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # what a card tells a model hub
            target.write_text(linked(text, path.parent, to), "utf8")
    trees = {part: [entry(path) for path in paths] for part, paths in documents.items()}
    trees["API"] = write_api(to / "api")
    front = to / "index.md"
    front.write_text(front.read_text("utf8") + "".join(toctree(trees[part], part) for part in trees), "utf8")


def page_of(path: Path) -> Path:
    """Return the page of a file.

    >>> page_of(Path("data/README.md")).as_posix(), page_of(Path("docs/scale.md")).as_posix()
    ('data/index.md', 'docs/scale.md')
    """
    return path.with_name("index.md") if path.name == "README.md" else path


def entry(path: Path) -> str:
    """Return a page's line in the sidebar: its title up to a colon, a notebook's with its number."""
    text = path.read_text("utf8")
    if path.suffix == ".ipynb":
        text = "\n".join(
            "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
        )
    title = re.search(r"^# +(.+)$", text, re.MULTILINE)
    name = re.sub(r"^Exercises \d+: |`", "", title.group(1) if title else path.stem)
    short = name[0].upper() + name[1:].partition(":")[0]
    number = re.match(r"\d+", path.stem)
    if number and not short.startswith(number.group()):
        short = f"{number.group()} {short}"
    return f"{short} <{page_of(path.relative_to(ROOT)).with_suffix('').as_posix()}>"


def texts(cells: list[dict]) -> list[str]:
    """Return the Markdown of a notebook's cells."""
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def toctree(entries: list[str], caption: str = "") -> str:
    lines = "\n".join(entries)
    head = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{head}\n{lines}\n```\n" if entries else ""


def markdown_cell(text: str) -> dict:
    return {"cell_type": "markdown", "id": "site", "metadata": {}, "source": text}


def linked(text: str, folder: Path, to: Path) -> str:
    """Return Markdown for the site: links lead to pages; what they name besides is copied; pictures are here or words.

    folder: where the text stands in the repository. A folder without a README has no page, and is left as its name.
    """

    def link(match: re.Match) -> str:
        image, label, target = match.groups()
        label = _LINK.sub(link, label)  # a picture may be what is clicked
        if re.match("(https?:)?//", target):
            return label if image else f"[{label}]({target})"
        name, mark, anchor = target.partition("#")
        path = Path(os.path.normpath(folder / name))
        if not name or not path.is_relative_to(ROOT):
            return match.group()
        if path.is_dir():
            if not (path / "README.md").is_file():
                return label
            name = f"{name.rstrip('/')}/README.md"
        elif path.suffix not in {".md", ".ipynb"} and path.is_file():
            copy = to / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        return f"{image}[{label}]({page_of(Path(name)).as_posix()}{mark}{anchor})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)  # code is left alone
    parts[::2] = [_LINK.sub(link, _REMOTE_IMAGE.sub("", part)) for part in parts[::2]]
    return "".join(parts)


def notebook(content: dict, folder: Path, to: Path) -> dict:
    """Return a notebook for the site: its texts are linked, its figures have words, its outputs are as they were."""
    section, cells = "", content["cells"]
    for place, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ +(.+)$", source, re.MULTILINE)
            section = headings[-1] if headings else section
            cell["source"] = linked(source, folder, to)
        elif any(kind.startswith("image/") for out in cell.get("outputs", []) for kind in out.get("data", {})):
            above, below = texts(cells[:place]), texts(cells[place + 1 :])
            image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
            image.setdefault("alt", words_for(section, above[-1] if above else "", below[0] if below else ""))
    return content


def words_for(section: str, above: str, below: str) -> str:
    """Return the words for a figure of a section: the paragraph above it that speaks of a picture, or that below it.

    >>> words_for("1. By *hand*", "Now what?", "Two half circles. Left: `a1`.\\n\\nWhich wins?")
    'Figure of “1. By hand”: Two half circles. Left: a1.'
    >>> words_for("A", "# A\\n\\nThe picture: two circles.", "# B")
    'Figure of “A”: The picture: two circles.'
    """
    told = [paragraph for paragraph in above.split("\n\n") if re.search("pictures?\\b", paragraph, re.IGNORECASE)]
    said = told[-1] if told else "" if below.startswith("#") else below.partition("\n\n")[0]
    plain = re.sub(r"[*`]", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(said.split())))
    return f"Figure of “{re.sub('[*`]', '', section)}”{': ' if plain else ''}{plain}"


def rooms() -> list[str]:
    """Return the packages' names in the order in which the architecture tells of them."""
    return re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs" / "architecture.md").read_text("utf8"), re.MULTILINE)


def imported_by_lessons() -> dict[str, object]:
    """Return what notebooks import from this package by name: modules such as `tables`, functions, classes."""
    code = "".join(path.read_text("utf8") for path in sorted(ROOT.glob("notebooks/**/*.ipynb")))
    lists = re.findall(r"from (ragkit\.[\w.]+) import ([\w, ]+)", code)
    names = sorted({f"{module}.{name.strip()}" for module, names in lists for name in names.split(",")})
    return {name: pkgutil.resolve_name(name) for name in names}


def write_api(folder: Path) -> list[str]:
    """Write a page for each package and one for what all share; return their lines in the sidebar.

    A name that `ragkit` has itself is called by that, as in the lessons.
    """
    folder.mkdir(parents=True)
    shared = {f"ragkit.{name}": getattr(ragkit, name) for name in ragkit.__all__}
    short = {id(value): name for name, value in shared.items()}
    used, entries, placed = imported_by_lessons(), [], set()
    for room in rooms():
        package = importlib.import_module(f"ragkit.{room}")
        found = {id(value): name for name in package.__all__ for value in [getattr(package, name)]}
        placed |= set(found)
        names = {short.get(key, f"ragkit.{room}.{name}"): getattr(package, name) for key, name in found.items()}
        here = {name: value for name, value in used.items() if name.startswith(f"ragkit.{room}.")}
        modules = [value for value in here.values() if isinstance(value, types.ModuleType)]
        more = {name: value for name, value in here.items() if value not in modules and id(value) not in placed}
        page = f"# {room.capitalize()}\n\n{inspect.getdoc(package)}\n\n{api(names | more)}"
        placed |= {id(value) for value in more.values()}
        for module in modules:
            own = {
                f"{module.__name__}.{name}": value
                for name, value in vars(module).items()
                if not name.startswith("_")
                and getattr(value, "__module__", "") == module.__name__
                and id(value) not in placed
                and inspect.getdoc(value)
            }
            title = module.__name__.removeprefix("ragkit.")
            page += f"\n## The module {title}\n\n{inspect.getdoc(module)}\n\n{api(own)}"
            placed |= {id(value) for value in own.values()} | {id(module)}
        (folder / f"{room}.md").write_text(page, "utf8")
        entries.append(f"{room} <api/{room}>")
    rest = {name: value for name, value in shared.items() if id(value) not in placed}
    rest |= {name: value for name, value in used.items() if id(value) not in placed | set(short)}
    (folder / "shared.md").write_text(f"# What all share\n\nMaxSim, vectors, places, errors.\n\n{api(rest)}", "utf8")
    names = "\n".join(f"| {{py:obj}}`{name}` | {sentence(value)} |" for name, value in sorted(shared.items()))
    intro = (
        "What `ragkit` has under its own name. The pages beside this one tell of these and of the rest, by the rooms "
        "of [the architecture](../docs/architecture.md). Each name in a lesson's code leads here, and each entry back "
        "to the lessons that use it."
    )
    (folder / "index.md").write_text(f"# API\n\n{intro}\n\n| name | what it is |\n| --- | --- |\n{names}\n", "utf8")
    return ["ragkit <api/index>", *entries, "what all share <api/shared>"]


def sentence(value: Callable) -> str:
    """Return the first sentence of what is said of a class or function, in one line."""
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def api(names: dict[str, object]) -> str:
    """Return the directives that show these classes and functions, each with the lessons that use it."""
    lines = ["```{eval-rst}", ".. py:currentmodule:: ragkit", ""]
    for name, value in sorted(names.items(), key=lambda item: isinstance(item[1], type)):  # functions first
        if isinstance(value, type):
            kind = "exception" if issubclass(value, Exception) else "class"
            lines += [f".. auto{kind}:: {name}", "   :members:", "   :member-order: bysource"]
        else:
            lines += [f".. autofunction:: {name}"]
        lines += ["", f"   .. autolink-examples:: {name}", "      :collapse:", ""]
    return "\n".join([*lines, "```", ""])


def build(to: Path) -> int:
    """Build the site in a folder, anew; return Sphinx's exit status. A warning of Sphinx is a fault."""
    work = to.parent / f"{to.name}-work"
    for folder in (to, work):
        shutil.rmtree(folder, ignore_errors=True)
    stage(work / "source")
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-c", ROOT / "docs" / "site", "-d", work / "doctrees"]
    return build_main([str(argument) for argument in [*arguments, work / "source", to]])


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site").resolve()))
