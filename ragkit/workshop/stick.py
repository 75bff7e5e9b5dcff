"""Fill a folder with all that a room of laptops needs: wheels, models, datasets, embeddings, checksums."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from ragkit.boundary import public
from ragkit.datasets import beir, readers
from ragkit.datasets.catalogue import lookup
from ragkit.datasets.dataset import load_dataset
from ragkit.datasets.irds import PREFIX
from ragkit.encoders.cached_encoder import CachedEncoder, Role
from ragkit.encoders.embedding_cache import EmbeddingCache
from ragkit.encoders.models import downloaded_files, find_model, load_model
from ragkit.encoders.variants import load_encoders
from ragkit.errors import RagkitError, amount, given, shown
from ragkit.files import SUMS, expanded, fault, inside, read_sums, sha256, sweep_beside, whole, write_sums
from ragkit.paths import home, mirror_folder
from ragkit.workshop import wheels
from ragkit.workshop.verify import PARTS, unlisted

_YOURS = "nobody vouches for it: name its dataset or model, and it is listed, or delete it"
_YOURS_AGAIN = f"name its dataset, model or platform, and it is made anew, or delete its line in {SUMS}"


@public("The folder cannot be filled")
def fill_stick(
    to: Path,
    datasets: Sequence[str] = ("movies", "scifact"),
    models: Sequence[str] = (),
    platforms: Sequence[str] = (wheels.THIS,),
    vectors: Sequence[str] = ("dense", "colbert"),
    docs: int | Literal["all"] | None = None,
    lock: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Fill a folder that serves as `RAGKIT_MIRROR` without a network; return what could not be had, a line each.

    to: the folder, or a USB stick. datasets: movies, BEIR's by name, or folders; docs: of each, as load_beir
    takes it, for the embeddings (the files come whole). models: FastEmbed's names, to be downloaded; the embedded
    ones are part of the kit. platforms: see wheels.Target.parse; none, no wheels. vectors: whose embeddings
    come along. lock: default, the checkout's requirements.txt. say: is told of each step.

    A file that the folder's SHA256SUMS vouches for is not fetched again, so that a call that was interrupted is
    continued by the same call; a damaged file is replaced, and so is a dataset's that has changed since. Only what a
    call put there, or what is the same, is vouched for. Raises RagkitError for what cannot be found or written, for a
    file in the way that nobody vouches for, and, before anything is touched, for two datasets of one name and for a
    name or a link that leads out of the folder.
    """
    to = expanded(to)
    targets = [wheels.Target.parse(name) for name in platforms]
    mirror = mirror_folder()
    if mirror and mirror.resolve() == to.resolve():
        raise RagkitError(
            f"RAGKIT_MIRROR is {to}, the folder to be filled, which would be filled from itself; unset it."
        )
    lock = lock or home() / "requirements.txt"
    pinned = [(target, wheels.pins(lock, target)) for target in targets]
    named = _names(datasets)
    for model in models:
        find_model(model)
    try:
        folder = _Folder(to)
        lacking = []
        for target, pins in pinned:
            lacking += _wheels(folder, pins, target, say)
        for model in models:
            _model(folder, model, say)
        for source, name in named.items():
            _dataset(folder, source, name, vectors, docs, say)
    except OSError as error:
        raise RagkitError(f"{to} cannot be filled ({error}). Is it full, or write-protected?") from error
    for name in sorted(folder.lost):
        say(f"{name}: missing, because it was damaged: {_YOURS_AGAIN}")
    for line in unlisted(to):
        yours = line.startswith(("beir/", "models/"))
        say(f"{line}, and {_YOURS if yours else 'it will be refused: delete it'}")
    files = [path for path in map(to.joinpath, folder.sums) if path.is_file()]
    say(f"{to}: {len(files)} files, {amount(sum(path.stat().st_size for path in files))}")
    return lacking


def _names(datasets: Iterable[str]) -> dict[str, str]:
    """Return the folder under beir/ of each dataset, once; "" of the movies, which are part of the kit."""
    found: dict[str, str] = {}
    taken: dict[str, tuple[str, str | Path]] = {}
    for source in datasets:
        source = str(expanded(source)) if source.startswith("~") else source
        if source.startswith(PREFIX):
            raise RagkitError(f"{source} is kept by ir_datasets, and no part of a folder; leave it out.")
        known = None if readers.find(source, "corpus") else lookup(source)
        name = "" if source == "movies" else known.name if known else beir.locate(source)[1]
        if not name.isprintable():  # a checksum file has a line a file
            raise RagkitError(
                f"{given(source)} would be called {given(name)}, which no checksum file holds; rename it."
            )
        itself = known.name if known else Path(source).resolve()
        # A stick's file system may not tell A from a.
        other, is_this = taken.setdefault(name.casefold(), (source, itself))
        if itself != is_this:
            raise RagkitError(f"{other} and {source} would both be beir/{name}; rename one, or fill two folders.")
        found[other] = name
    return found


class _Folder:
    """The folder, and what its checksum file vouches for; `lost`: what of that was damaged, or is missing.

    Raises RagkitError, before anything is touched, for a link or a line of the checksum file that leads out of it.
    """

    def __init__(self, path: Path):
        path.mkdir(parents=True, exist_ok=True)
        _check_links(path)
        self.path, found = path, read_sums(path)
        ours = {name: digest for name, digest in found.items() if name.partition("/")[0] in PARTS and "/" in name}
        # That something is lacking is known by its line alone, which stays until whoever made it makes it anew.
        self.sums, self._gone = found, set[str]()
        self.lost = {name for name, digest in ours.items() if fault(path, name, digest)}
        for name in self.lost:
            if not (path / name).is_dir():
                (path / name).unlink(missing_ok=True)

    def vouch(self, files: Iterable[Path]) -> None:
        """Write the checksums of new files."""
        self._list({file.relative_to(self.path).as_posix(): sha256(file) for file in files})

    def _list(self, digests: Mapping[str, str]) -> None:
        self.sums |= digests
        self.lost -= digests.keys()
        self._write()

    def _read(self) -> None:
        """Take over what another process has listed meanwhile."""
        self.sums = {n: digest for n, digest in read_sums(self.path).items() if n not in self._gone} | self.sums

    def _write(self) -> None:
        self._read()
        write_sums(self.path, self.sums)

    def listed(self, part: str) -> dict[str, str]:
        """Return SHA-256 (hex) by path of the files whose paths begin so, less that beginning; none that is lost."""
        there = (item for item in self.sums.items() if item[0] not in self.lost)
        return {name.removeprefix(part): digest for name, digest in there if name.startswith(part)}

    def remove(self, names: Sequence[str]) -> None:
        """Delete files that the checksum file vouches for, and their lines."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)
            del self.sums[name]
        self._gone |= {*names}
        self.lost -= {*names}
        if names:
            self._write()

    def copy(self, files: Mapping[str, Path]) -> int:
        """Copy those files, by their path in the folder, that differ from what is there; return how many did.

        All of them are there, or none. Raises RagkitError for a file that is in the way and that nobody vouches for.
        """
        digests = {name: sha256(file) for name, file in files.items()}
        changed = [name for name, digest in digests.items() if fault(self.path, name, digest)]
        for name in changed:
            if name not in self.sums and (self.path / name).exists():
                raise RagkitError(f"{self.path / name} is not the file that would be put there; move it away.")
        for name in files:
            sweep_beside(inside(self.path, name))
        with ExitStack() as stages:
            for name in changed:
                shutil.copyfile(files[name], stages.enter_context(whole(inside(self.path, name))))
        self._list(digests)
        return len(changed)

    def refuse_unlisted(self, names: Iterable[str]) -> None:
        """Raise RagkitError if files are there that nobody vouches for, and that would be added to."""
        self._read()
        if strange := [name for name in names if name not in self.sums and (self.path / name).exists()]:
            raise RagkitError(
                f"{self.path}: {', '.join(strange)} {'is' if len(strange) == 1 else 'are'} not in {SUMS}, so nobody "
                "vouches for what is stored there; move it away, and it is made anew."
            )

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Yield a path with a copy of the file, or with none; what the block makes of it is put there and vouched for.

        The file is as it was until then. Raises RagkitError as refuse_unlisted does.
        """
        self.refuse_unlisted([name])
        with whole(inside(self.path, name)) as stage:
            if self.vouches(name):
                shutil.copyfile(self.path / name, stage)
            yield stage
            # Before it is there: what is listed and lacks is made anew, and what is there and not listed is refused.
            self._list({name: sha256(stage)})

    def vouches(self, name: str) -> bool:
        """Return whether a file is there and listed."""
        return name in self.sums and name not in self.lost

    def has(self, files: Sequence[Path]) -> bool:
        """Return whether all files of a model are vouched for, and it lacks none that was."""
        top = self.path.resolve()
        names = [file.relative_to(top) for file in files if file.is_relative_to(top)]
        folders = {"/".join(name.parts[:2]) + "/" for name in names}
        lacks = any(name.startswith(tuple(folders)) for name in self.lost)
        return bool(files) and not lacks and {name.as_posix() for name in names} <= self.sums.keys()


def _check_links(folder: Path) -> None:
    """Raise RagkitError if a link or a junction where files are written or deleted leads out of the folder."""
    top = folder.resolve()
    for start in [folder / SUMS, *map(folder.joinpath, PARTS)]:
        for path in [start, *start.rglob("*")]:
            try:
                contained = path.resolve().is_relative_to(top)
            except (OSError, RuntimeError):  # a link to itself
                contained = False
            if not contained:
                raise RagkitError(f"{path} leads out of {folder}, where nothing may be changed; remove that link.")


def _wheels(folder: _Folder, pins: wheels.Pins, target: wheels.Target, say: Callable[[str], None]) -> list[str]:
    strange = wheels.strangers(pins, folder.listed("wheels/"))
    for name in strange:
        say(f"wheels/{name}: removed, because its SHA-256 is not the lock's")
    folder.remove([f"wheels/{name}" for name in strange])
    absent, lacking = wheels.absent(pins, target, folder.listed("wheels/")), []
    say(f"wheels, {target.name}, Python {'{}.{}'.format(*target.python)}: {len(pins)}, {len(absent)} to be fetched")
    for files, without in wheels.fetch(absent, target, folder.path / "wheels"):
        folder.vouch(files)
        lacking += without
    return lacking


def _model(folder: _Folder, model: str, say: Callable[[str], None]) -> None:
    cls, description = find_model(model)
    name, place = description["model"], folder.path / "models"
    say(f"model {name}: {description['size_in_GB']} GB unless it is there")
    # What the hub's client meets it takes for its own, so it works where nobody else puts files, and continues there.
    stage = place / f".unfinished-{name.replace('/', '--')}"
    if not (folder.listed("models/") and folder.has(downloaded_files(cls, name, place))):
        load_model(cls, name, "Connect, and run this again.", cache_dir=str(stage), lazy_load=True)
        files = {f"models/{path.relative_to(stage).as_posix()}": path for path in _downloaded(stage)}
        folder.copy(files)
        folders = {"/".join(file.split("/")[:2]) + "/" for file in files}
        folder.remove(sorted(file for file in folder.lost if file.startswith(tuple(folders))))
    shutil.rmtree(stage, ignore_errors=True)


def _downloaded(stage: Path) -> Iterator[Path]:
    """Yield the files of a model without the hub's blobs, to which those in its snapshots are links where there are."""
    for path in stage.rglob("*"):
        parts = path.relative_to(stage).parts
        if path.is_file() and "blobs" not in parts and not any(part.startswith(".") for part in parts):
            yield path


def _dataset(
    folder: _Folder,
    source: str,
    name: str,
    vectors: Sequence[str],
    docs: int | Literal["all"] | None,
    say: Callable[[str], None],
) -> None:
    dataset = load_dataset(source, docs if name else None)  # checks what it reads
    if name:
        found, _, _ = beir.locate(source)
        files = {path.relative_to(found).as_posix(): path for path in readers.files(found)}
        over = f" over what was there, from {shown(str(found))}" if folder.listed(f"beir/{name}/") else ""
        copied = folder.copy({f"beir/{name}/{path}": file for path, file in files.items()})
        top = f"beir/{name}/"
        listed = [old.removeprefix(top) for old in folder.sums if old.startswith(top)]
        gone = [old for old in listed if old not in files and re.match(r"qrels/|[^/]+$", old)]
        folder.remove([top + old for old in gone])
        say(f"dataset {name}: {len(files)} files, {copied} copied{over if copied else ''}")
    encoders = {v: encoder for v, encoder in load_encoders(vectors).items() if isinstance(encoder, CachedEncoder)}
    roles: dict[Role, list[str]] = {"document": dataset.passages, "query": dataset.queries["text"].tolist()}
    folder.refuse_unlisted(
        dict.fromkeys(f"embeddings/{encoder.file_name(role)}" for encoder in encoders.values() for role in roles)
    )
    for vector, encoder in encoders.items():
        say(f"embeddings of {dataset.name}, {len(dataset.documents):,} documents, by {vector}")
        for role, texts in roles.items():
            _embeddings(folder, encoder, texts, role)


def _embeddings(folder: _Folder, encoder: CachedEncoder, texts: list[str], role: Role) -> None:
    name = f"embeddings/{encoder.file_name(role)}"
    path = folder.path / name
    sweep_beside(path)
    if folder.vouches(name) and not EmbeddingCache(path).missing(texts):
        folder.vouch([path])  # one of an older version has been given checksums
        return
    with folder.adding(name) as stage:
        encoder.share(stage.parent, texts, role)
