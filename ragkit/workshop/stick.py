"""Fill a folder with all that a room of laptops needs: wheels, models, collections, embeddings, checksums."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ragkit.datasets import beir, layout
from ragkit.datasets.dataset import load_dataset
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.encoder import find_model
from ragkit.encoders.variants import load_encoders
from ragkit.errors import RagkitError
from ragkit.files import expanded, inside, read_sums, sha256, whole, write_sums
from ragkit.paths import data_dir, mirror_folder
from ragkit.workshop import wheels


def fill_stick(
    to: Path,
    collections: Sequence[str] = ("movies", "scifact"),
    models: Sequence[str] = (),
    platforms: Sequence[str] = (wheels.THIS,),
    vectors: Sequence[str] = ("dense", "colbert"),
    docs: int | Literal["all"] | None = None,
    lock: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Fill a folder that serves as `RAGKIT_MIRROR` without a network; return what could not be had, a line each.

    to: the folder, or a USB stick. collections: movies, BEIR's by name, or folders; docs: of each, as load_beir
    takes it, for the embeddings (the files come whole). models: FastEmbed's names, to be downloaded; the embedded
    ones are part of the checkout. platforms: see wheels.Target.parse; none, no wheels. vectors: whose embeddings
    come along. lock: default, the checkout's requirements.txt. say: is told of each step.

    A file that the folder's SHA256SUMS vouches for is not fetched again, so that a call that was interrupted is
    continued by the same call, and a damaged file replaced. Raises RagkitError for what cannot be found or written.
    """
    targets = [wheels.Target.parse(name) for name in platforms]
    mirror = mirror_folder()
    if mirror and mirror.resolve() == expanded(to).resolve():
        raise RagkitError(
            f"RAGKIT_MIRROR is {to}, the folder to be filled, which would be filled from itself; unset it."
        )
    try:
        folder = _Folder(expanded(to))
        lacking = []
        for target in targets:
            lacking += _wheels(folder, lock or data_dir().parent / "requirements.txt", target, say)
        for model in models:
            _model(folder, model, say)
        for source in collections:
            _collection(folder, source, vectors, None if source == "movies" else docs, say)
    except OSError as error:
        raise RagkitError(f"{to} cannot be filled ({error}). Is it full, or write-protected?") from error
    size = sum((folder.path / name).stat().st_size for name in folder.sums)
    say(f"{folder.path}: {len(folder.sums)} files, {size / 1e6:,.0f} MB")
    return lacking


class _Folder:
    """The folder, and what its checksum file vouches for."""

    def __init__(self, path: Path):
        path.mkdir(parents=True, exist_ok=True)
        self.path, found = path, read_sums(path)
        self.sums = {n: d for n, d in found.items() if inside(path, n).is_file() and sha256(path / n) == d}
        for name in found.keys() - self.sums.keys():  # damaged: whoever made it makes it anew
            (path / name).unlink(missing_ok=True)

    def vouch(self, files: Sequence[Path]) -> None:
        """Write the checksums of new files."""
        self.sums |= {file.relative_to(self.path).as_posix(): sha256(file) for file in files}
        write_sums(self.path, self.sums)

    def copy(self, source: Path, name: str) -> bool:
        """Copy a file there, whole or not at all, unless it is there; return whether it was copied."""
        if name in self.sums:
            return False
        target = inside(self.path, name)
        with whole(target) as stage:
            shutil.copyfile(source, stage)
        self.vouch([target])
        return True


def _wheels(folder: _Folder, lock: Path, target: wheels.Target, say: Callable[[str], None]) -> list[str]:
    wanted = wheels.pins(lock, target)
    there = [name.removeprefix("wheels/") for name in folder.sums if name.startswith("wheels/")]
    absent, lacking = wheels.absent(wanted, target, there), []
    say(f"wheels, {target.name}, Python {'{}.{}'.format(*target.python)}: {len(wanted)}, {len(absent)} to be fetched")
    for files, without in wheels.fetch(absent, target, folder.path / "wheels"):
        folder.vouch(files)
        lacking += without
    return lacking


def _model(folder: _Folder, model: str, say: Callable[[str], None]) -> None:
    cls, description = find_model(model)
    say(f"model {description['model']}: {description['size_in_GB']} GB unless it is there")
    place = folder.path / "models"
    try:
        cls(description["model"], cache_dir=str(place), lazy_load=True)
    except Exception as error:  # whatever FastEmbed and the hub's client raise
        raise RagkitError(
            f"The model {model} could not be downloaded ({error}). Connect, and run this again."
        ) from error
    # The hub's client keeps files once, and links to them where the disk can hold links.
    files = [file for file in place.rglob("*") if file.is_file() and not file.is_symlink()]
    folder.vouch([file for file in files if file.relative_to(folder.path).as_posix() not in folder.sums])


def _collection(
    folder: _Folder, source: str, vectors: Sequence[str], docs: int | Literal["all"] | None, say: Callable[[str], None]
) -> None:
    dataset = load_dataset(source, docs)  # checks what it reads
    if source != "movies":
        found, name, _ = beir.locate(source)
        files = layout.files(found)
        copied = [folder.copy(f, f"beir/{name}/{f.relative_to(found).as_posix()}") for f in files]
        say(f"collection {name}: {len(files)} files, {sum(copied)} copied")
    for vector, encoder in load_encoders(vectors).items():
        if not isinstance(encoder, CachedEncoder):
            continue
        say(f"embeddings of {dataset.name}, {len(dataset.documents):,} documents, by {vector}")
        place = folder.path / "embeddings"
        made = [encoder.share(place, dataset.passages, "document")]
        made.append(encoder.share(place, dataset.queries["text"].tolist(), "query"))
        folder.vouch(made)
