"""Empty environments without this checkout; what is installed here is linked into them, so no network is asked."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

# What would lead a child back to the checkout, or to what is not in the environment.
LEADING_BACK = ("PYTHONPATH", "PYTHONHOME", "RAGKIT_DATA", "RAGKIT_MIRROR", "VIRTUAL_ENV", "QDRANT_URL")


class Environment:
    """An environment of its own, with a folder to work in, which is made if it is not there.

    place: of the environment, if it is not beside that folder.
    """

    def __init__(self, folder: Path, place: Path | None = None, with_pip: bool = False):
        place = place or folder / "venv"
        venv.create(place, with_pip=with_pip, symlinks=os.name != "nt")
        paths = sysconfig.get_paths("venv", {"base": str(place), "platbase": str(place)})
        self.bin, self.site, self.work = Path(paths["scripts"]), Path(paths["purelib"]), folder / "work"
        self.python = self.bin / Path(sys.executable).name
        self.work.mkdir(exist_ok=True)
        own = {"RAGKIT_CACHE": str(folder / "cache"), "TQDM_DISABLE": "1", "PYTHONUTF8": "1"}
        self.environ = {name: value for name, value in os.environ.items() if name not in LEADING_BACK} | own
        self.environ["PATH"] = os.pathsep.join([str(self.bin), self.environ["PATH"]])

    def install(self, wheel: Path) -> None:
        """Install a wheel, without what it asks for."""
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python"]
        subprocess.run([*command, str(self.python), str(wheel)], check=True)

    def link(self, names: Iterable[str]) -> None:
        """Link distributions of the running environment, and nothing else that is there.

        Never one that the environment may replace, such as pip: what is deleted through a link is gone.
        """
        for name in names:
            found = distribution(name)
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                source = Path(str(found.locate_file(top)))
                if source.exists() and not (self.site / top).exists():
                    _link(source, self.site / top)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command of the environment in its folder; return what it printed on standard output."""
        command = (str(self.python), *command[1:]) if command[0] == "python" else command
        done = subprocess.run(command, cwd=self.work, env=self.environ, capture_output=True, text=True, encoding="utf8")
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows lets not everybody make links
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)


def closure(requirements: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """Return the names of what is asked for here, and of what that asks for, and so on."""
    found: set[str] = set()
    todo = [(Requirement(text), frozenset(extras)) for text in requirements]
    seen = set()
    while todo:
        asked, extras = todo.pop()
        if asked.marker and not any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        key = (asked.name.lower(), frozenset(asked.extras))
        if key not in seen:
            seen.add(key)
            found.add(asked.name.lower())
            todo += [(Requirement(text), frozenset(asked.extras)) for text in distribution(asked.name).requires or ()]
    return found
