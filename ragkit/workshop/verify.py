"""Whether a filled folder is as it was made; `make setup` runs this as a file, before pip reads any of its wheels."""

import sys
import types
from pathlib import Path

if __name__ == "__main__":
    # Nothing is installed yet, so that ragkit's own __init__, which needs a package, cannot run; files.py, and what it
    # imports, need none.
    bare = types.ModuleType("ragkit")
    bare.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["ragkit"] = bare

from ragkit.errors import RagkitError
from ragkit.files import SUMS, damaged, read_sums

WHEELS = "wheels"
# The folders that are filled. What else is there, and any line of SHA256SUMS about it, is somebody's own.
PARTS = (WHEELS, "models", "beir", "embeddings")


def problems(folder: Path, part: str = "") -> list[str]:
    """Return a line for each file that is missing or damaged, or that the folder's checksums do not list.

    part: as in files.damaged. Raises RagkitError if there is no checksum file in the folder.
    """
    return [*damaged(folder, part), *unlisted(folder, part)]


def unlisted(folder: Path, part: str = "") -> list[str]:
    """Return a line for each file in the folders that are filled that the checksums do not list.

    part: as in files.damaged. Names that begin with a dot are passed over: macOS leaves such files on a stick, and
    nothing that is read has such a name. A link, as the hub's client makes them, is listed if what it leads to is.
    """
    sums, top, found = read_sums(folder), folder.resolve(), []
    for place in map(folder.joinpath, PARTS):
        for path in sorted(place.rglob("*")):
            name = path.relative_to(folder).as_posix()
            dotted = any(each.startswith(".") for each in path.relative_to(folder).parts)
            if dotted or not name.startswith(part) or (path.is_dir() and not path.is_symlink()):
                continue
            if name not in sums and not (path.is_symlink() and _leads_to(path, top) in sums):
                found.append(f"{name}: not in {SUMS}")
    return found


def _leads_to(link: Path, top: Path) -> str:
    """Return the path in a folder that a link leads to; "" if that is elsewhere."""
    try:
        return link.resolve().relative_to(top).as_posix()
    except (OSError, RuntimeError, ValueError):  # a link to itself, or out of the folder
        return ""


def main(folder: Path) -> int:
    """Print what is wrong with the folder's wheels to standard error; return 1 if anything is, else 0."""
    try:
        found = problems(folder, f"{WHEELS}/")
    except (RagkitError, OSError) as error:
        found = [str(error)]
    if found:
        advice = f"Nothing was installed. Copy {folder} again, or delete from its {WHEELS}/ what nobody vouches for."
        print(*found, advice, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
