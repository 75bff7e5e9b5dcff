"""BEIR collections: where they come from, what their files may look like, and whether they are intact."""

import csv
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pooch
import requests

from ragkit.errors import RagkitError
from ragkit.paths import cache_dir, data_dir


def manifests() -> dict[str, dict]:
    """Return the manifests under data/beir/, by collection name."""
    return {p.stem: json.loads(p.read_text("utf8")) for p in sorted((data_dir() / "beir").glob("*.json"))}


def locate(source: str | Path) -> tuple[Path, str, dict | None]:
    """Return the folder of a collection, its name, and its manifest if the kit knows it by name.

    A path to a folder is used as it is. A name is looked for in the cache, then in `RAGKIT_MIRROR`
    (a folder or URL laid out as `beir/<name>/…` or `beir/<name>.zip`), then at BEIR's own address.
    """
    if (Path(source) / "corpus.jsonl").is_file():
        return Path(source), Path(source).resolve().name, None
    name, known = str(source), manifests()
    if name not in known:
        raise RagkitError(
            f"No collection {name!r}: it is neither a folder with corpus.jsonl, queries.jsonl and qrels/ in it, "
            f"nor one of the collections known by name: movies, {', '.join(known)}."
        )
    return _fetch(name, known[name]), name, known[name]


def in_reach(name: str) -> str | None:
    """Return where a named collection would be read from without the network, or None."""
    mirror = os.environ.get("RAGKIT_MIRROR", "")
    if (cache_dir() / "beir" / name / "corpus.jsonl").is_file():
        return str(cache_dir() / "beir" / name)
    if mirror and not _is_url(mirror):
        for path in (Path(mirror) / "beir" / name / "corpus.jsonl", Path(mirror) / "beir" / f"{name}.zip"):
            if path.is_file():
                return str(path)
    return None


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _fetch(name: str, manifest: dict) -> Path:
    cached = cache_dir() / "beir" / name
    if (cached / "corpus.jsonl").is_file():
        return cached
    mirror = os.environ.get("RAGKIT_MIRROR", "").rstrip("/")
    if mirror and not _is_url(mirror):
        folder, archive = Path(mirror) / "beir" / name, Path(mirror) / "beir" / f"{name}.zip"
        if (folder / "corpus.jsonl").is_file():
            return folder
        if archive.is_file():
            return unzip(archive, cached)
    elif mirror:
        try:
            return unzip(_download(f"{mirror}/beir/{name}.zip", None), cached)
        except (requests.RequestException, OSError):
            pass  # the mirror may hold the files instead of the archive, or neither
        try:
            return _download_files(f"{mirror}/beir/{name}", manifest, cached)
        except (requests.RequestException, OSError):
            pass
    try:
        return unzip(_download(manifest["url"], f"md5:{manifest['md5']}"), cached)
    except (requests.RequestException, OSError, ValueError) as error:
        if isinstance(error, RagkitError):
            raise
        raise RagkitError(
            f"{name} is not in the cache ({cached}), not in a mirror (RAGKIT_MIRROR="
            f"{os.environ.get('RAGKIT_MIRROR') or 'unset'}), and {manifest['url']} did not give it "
            f"({type(error).__name__}). Connect once, or set RAGKIT_MIRROR to a folder that holds "
            f"beir/{name}/corpus.jsonl or beir/{name}.zip."
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


def _download_files(url: str, manifest: dict, target: Path) -> Path:
    with _staged(target) as stage:
        (stage / "qrels").mkdir()
        names = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in manifest["splits"])]
        for name in names:
            pooch.retrieve(f"{url}/{name}", None, fname=name.rsplit("/", 1)[-1], path=(stage / name).parent)
    return target


def unzip(archive: Path, target: Path) -> Path:
    """Unpack a BEIR archive (its files in one folder, or at the top) to `target`, whole or not at all.

    Raises RagkitError if the archive is damaged, holds no corpus.jsonl, or has a member that would
    be written outside its folder.
    """
    try:
        with zipfile.ZipFile(archive) as zipped, _staged(target) as stage:
            for member in zipped.namelist():
                if not (stage / member).resolve().is_relative_to(stage.resolve()) or "\\" in member:
                    raise RagkitError(f"{archive}: member {member!r} would be written outside its folder; refused.")
            zipped.extractall(stage)
            corpora = sorted(stage.glob("corpus.jsonl")) or sorted(stage.glob("*/corpus.jsonl"))
            if not corpora:
                raise RagkitError(f"{archive}: no corpus.jsonl in it, so it is not a BEIR collection.")
            if corpora[0].parent != stage:
                for item in corpora[0].parent.iterdir():
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


def read_jsonl(path: Path) -> list[tuple[int, dict]]:
    """Return (line number, object) for each non-blank line of a JSON Lines file."""
    rows = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append((number, json.loads(line)))
                    if not isinstance(rows[-1][1], dict):
                        raise RagkitError(f"{path}, line {number}: expected a JSON object, one a line.")
    except FileNotFoundError as error:
        raise RagkitError(f"No file {path}.") from error
    except json.JSONDecodeError as error:
        raise RagkitError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}).") from error
    except UnicodeDecodeError as error:
        raise RagkitError(f"{path}: not UTF-8 ({error}); convert the file to UTF-8 first.") from error
    return rows


def _read_texts(path: Path, id_name: str) -> pd.DataFrame:
    """Read `_id`, `text` and, where there are, `title` and `metadata.kind`; ignore other fields."""
    table: dict[str, dict] = {}
    for number, row in read_jsonl(path):
        key = row.get("_id")
        if not isinstance(key, (str, int)) or isinstance(key, bool) or str(key) == "":
            raise RagkitError(f'{path}, line {number}: expected a text "_id", got {key!r}.')
        if str(key) in table:
            raise RagkitError(f"{path}, line {number}: the _id {key!r} is there twice; ids must be unique.")
        title, text = row.get("title"), row.get("text")
        for field, value in (("title", title), ("text", text)):
            if value is not None and not isinstance(value, str):
                raise RagkitError(f'{path}, line {number}: "{field}" is {type(value).__name__}, expected text.')
        if text is None and title is None:
            raise RagkitError(f'{path}, line {number}: no "text"; an empty document has "text": "".')
        metadata = row.get("metadata")
        kind = metadata.get("kind", "") if isinstance(metadata, dict) else ""
        table[str(key)] = {id_name: str(key), "title": title or "", "text": text or "", "kind": str(kind)}
    if not table:
        raise RagkitError(f"{path}: the file is empty.")
    return pd.DataFrame(list(table.values()))


def read_corpus(path: Path) -> pd.DataFrame:
    """Return doc_id, title, text; a missing title is "", and other fields are ignored."""
    return _read_texts(path, "doc_id")[["doc_id", "title", "text"]]


def read_queries(path: Path) -> pd.DataFrame:
    """Return query_id, text, kind (from `metadata.kind` where there is one, else "")."""
    queries = _read_texts(path, "query_id")
    blank = queries["text"].str.strip() == ""
    if blank.any():
        raise RagkitError(f"{path}: the query {queries.loc[blank, 'query_id'].iloc[0]!r} is empty; remove it.")
    return queries[["query_id", "text", "kind"]]


def read_qrels(path: Path) -> pd.DataFrame:
    """Return query_id, doc_id, relevance from a tab-separated file, with or without a header line.

    Raises RagkitError, naming file and line, for a line that has not three fields (or TREC's four,
    whose second is ignored), a relevance that is no whole number, or a pair judged twice.
    """
    rows: dict[tuple[str, str], int] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, fields in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not fields or fields == [""]:
                continue
            if len(fields) not in (3, 4):
                raise RagkitError(
                    f"{path}, line {number}: {len(fields)} tab-separated fields, expected query-id, corpus-id, score."
                )
            query_id, doc_id, relevance = fields[0], fields[-2], fields[-1].strip()
            if not relevance.lstrip("+-").isdecimal():
                if number == 1:
                    continue  # a header line
                raise RagkitError(f"{path}, line {number}: the score is {relevance!r}, expected a whole number.")
            if rows.setdefault((query_id, doc_id), int(relevance)) != int(relevance):
                raise RagkitError(f"{path}, line {number}: {query_id!r} and {doc_id!r} are judged twice, differently.")
    if not rows:
        raise RagkitError(f"{path}: no judgments in it.")
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["query_id", "doc_id", "relevance"])


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
