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


def problems(folder: Path, part: str = "") -> list[str]:
    """Return a line for each file that is missing or damaged, or a wheel that the folder's checksums do not list.

    part: as in files.damaged. Raises RagkitError if there is no checksum file in the folder.
    """
    return [*damaged(folder, part), *unlisted(folder)]


def unlisted(folder: Path) -> list[str]:
    """Return a line for each file among the folder's wheels that its checksums do not list.

    Names that begin with a dot are passed over: macOS leaves such files on a stick, and no project has such a name.
    """
    sums, place = read_sums(folder), folder / WHEELS
    paths = [path.relative_to(place) for path in sorted(place.rglob("*")) if not path.is_dir()]
    names = [f"{WHEELS}/{path.as_posix()}" for path in paths if not any(part.startswith(".") for part in path.parts)]
    return [f"{name}: not in {SUMS}" for name in names if name not in sums]


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
