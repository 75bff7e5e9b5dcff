"""Write data/SHA256SUMS, by which the kit checks its own data before it uses it: `python docs/make_sums.py`.

The models have a list of their own, and this one vouches for that list.
"""

from ragkit.files import SUMS, sha256, write_sums
from ragkit.paths import data_dir


def sums() -> dict[str, str]:
    """Return the SHA-256 (hex) of each file that ships and that code reads, by path in data/."""
    folder = data_dir()
    read = {path for path in folder.rglob("*") if path.suffix in {".csv", ".json", ".jsonl", ".tsv"}}
    own = {path for path in read if not path.is_relative_to(folder / "models")} | {folder / "models" / SUMS}
    return {path.relative_to(folder).as_posix(): sha256(path) for path in own}


if __name__ == "__main__":
    write_sums(data_dir(), sums())
