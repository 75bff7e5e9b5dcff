"""BEIR collections: where they come from, what their files may look like, and whether they are intact."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pooch
import requests

from ragkit.datasets import layout
from ragkit.datasets.catalogue import Known, catalogue, lookup
from ragkit.errors import RagkitError
from ragkit.paths import cache_dir, mirror_place


def locate(source: str | Path) -> tuple[Path, str, dict | None]:
    """Return the folder of a collection, its name, and its manifest if the kit has one.

    A path to a folder is used as it is. A name is looked for in the cache, then in `RAGKIT_MIRROR`
    (a folder or URL laid out as `beir/<name>/…` or `beir/<name>.zip`), then at BEIR's own address.
    """
    if layout.find(source, "corpus"):
        return Path(source), Path(source).resolve().name, None
    known = lookup(str(source))
    if known is None:
        names = [name for name in catalogue() if "/" not in name]
        raise RagkitError(
            f"No collection {str(source)!r}: it is neither a folder with corpus.jsonl, queries.jsonl and qrels/ in it, "
            f"nor one of the collections known by name: movies, {', '.join(names)}, the forums of CQADupStack such as "
            "cqadupstack/gis, and irds: before a name of ir_datasets."
        )
    return _fetch(known), known.title, known.manifest


def in_reach(name: str) -> str | None:
    """Return where a named collection would be read from without the network, or None."""
    mirror = mirror_place()
    if (cache_dir() / "beir" / name / "corpus.jsonl").is_file():
        return str(cache_dir() / "beir" / name)
    if mirror and not _is_url(mirror):
        for path in (Path(mirror) / "beir" / name / "corpus.jsonl", Path(mirror) / "beir" / f"{name}.zip"):
            if path.is_file():
                return str(path)
    return None


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _fetch(known: Known) -> Path:
    cached = cache_dir() / "beir" / known.name
    if (cached / "corpus.jsonl").is_file():
        return cached
    target = cache_dir() / "beir" / known.archive  # what an archive is unpacked to; of CQADupStack, all forums
    mirror = mirror_place().rstrip("/")
    if mirror and not _is_url(mirror):
        folder, archive = Path(mirror) / "beir" / known.name, Path(mirror) / "beir" / f"{known.archive}.zip"
        if (folder / "corpus.jsonl").is_file():
            return folder
        if archive.is_file():
            unzip(archive, target)
            return cached
    elif mirror:
        try:
            unzip(_download(f"{mirror}/beir/{known.archive}.zip", None), target)
            return cached
        except (requests.RequestException, OSError):
            pass  # the mirror may hold the files instead of the archive, or neither
        try:
            return _download_files(f"{mirror}/beir/{known.name}", known.splits, cached)
        except (requests.RequestException, OSError):
            pass
    where = f"in the cache ({cached}), not in a mirror (RAGKIT_MIRROR={os.environ.get('RAGKIT_MIRROR') or 'unset'})"
    advice = f"set RAGKIT_MIRROR to a folder that holds beir/{known.name}/corpus.jsonl"
    if known.url is None:
        raise RagkitError(f"{known.name} is not {where}, and BEIR has no archive of it: {advice}.")
    try:
        unzip(_download(known.url, f"md5:{known.md5}"), target)
        return cached
    except (requests.RequestException, OSError, ValueError) as error:
        if isinstance(error, RagkitError):
            raise
        raise RagkitError(
            f"{known.name} is not {where}, and {known.url} did not give it ({type(error).__name__}). Connect once, or "
            f"{advice} or beir/{known.archive}.zip."
        ) from None  # the network library's own traceback is 80 lines that say no more


def _download(url: str, known_hash: str | None) -> Path:
    # pooch writes to a temporary file, checks the hash, then renames.
    pooch.get_logger().setLevel("WARNING")
    return Path(
        pooch.retrieve(
            url,
            known_hash,
            fname=url.rsplit("/", 1)[1],
            path=cache_dir() / "downloads",
            progressbar=not os.environ.get("TQDM_DISABLE"),
        )
    )


def _download_files(url: str, splits: Sequence[str], target: Path) -> Path:
    with _staged(target) as stage:
        (stage / "qrels").mkdir()
        names = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in splits)]
        for name in names:
            pooch.retrieve(f"{url}/{name}", None, fname=name.rsplit("/", 1)[-1], path=(stage / name).parent)
    return target


def unzip(archive: Path, target: Path) -> Path:
    """Unpack a BEIR archive (its files in one folder, at the top, or in a folder a part) to `target`, whole or not.

    Raises RagkitError if the archive is damaged, holds no corpus.jsonl, or has a member that would
    be written outside its folder.
    """
    try:
        with zipfile.ZipFile(archive) as zipped, _staged(target) as stage:
            for member in zipped.namelist():
                if not (stage / member).resolve().is_relative_to(stage.resolve()) or "\\" in member:
                    raise RagkitError(f"{archive}: member {member!r} would be written outside its folder; refused.")
            zipped.extractall(stage)
            parts = [path.parent for path in sorted(stage.rglob("corpus.jsonl"))]
            if not parts:
                raise RagkitError(f"{archive}: no corpus.jsonl in it, so it is not a BEIR collection.")
            # Of several parts, each keeps its folder. What is in the archive's own folder goes to the top.
            top = parts[0] if len(parts) == 1 else parts[0].parent
            if top != stage:
                for item in list(top.iterdir()):
                    item.rename(stage / item.name)
    except zipfile.BadZipFile as error:
        raise RagkitError(f"{archive}: not a readable zip archive ({error}). Delete it and try again.") from error
    return target


class _staged:
    """A temporary folder beside `target` that becomes `target` only if the block succeeds."""

    def __init__(self, target: Path):
        self.target = target

    def __enter__(self) -> Path:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.stage = Path(tempfile.mkdtemp(prefix=f".{self.target.name}-", dir=self.target.parent))
        return self.stage

    def __exit__(self, kind, *_: object) -> None:
        if kind is None and not self.target.exists():
            self.stage.rename(self.target)
        shutil.rmtree(self.stage, ignore_errors=True)


def content_sha256(documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame) -> dict[str, str]:
    """Return a SHA-256 (hex) over the ids and texts of each table, whatever order they are in."""

    def digest(table: pd.DataFrame) -> str:
        lines = sorted("\x1f".join(map(str, row)) for row in table.itertuples(index=False, name=None))
        return hashlib.sha256("\x1e".join(lines).encode("utf8", "surrogatepass")).hexdigest()

    return {
        "documents": digest(documents[["doc_id", "title", "text"]]),
        "queries": digest(queries[["query_id", "text"]]),
        "qrels": digest(qrels[["query_id", "doc_id", "relevance"]]),
    }


def check(
    manifest: dict, folder: Path, documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame, split: str
) -> None:
    """Raise RagkitError unless the tables are the ones that the manifest was made from."""
    found = content_sha256(documents, queries, qrels)
    expected = manifest["sha256"] | {"qrels": manifest["splits"][split]["sha256"]}
    for part, digest in found.items():
        if digest != expected[part]:
            raise RagkitError(
                f"{folder}: the {part} are not those of {manifest['name']} (SHA-256 of content {digest[:12]}…, "
                f"expected {expected[part][:12]}…). Delete that folder if it is in the cache, or check the mirror."
            )
