"""A dataset into an index: planned before it begins, streamed from the cache, continued where it stopped."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import psutil

from ragkit.addresses import is_address
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.variants import AnyEncoder, load_encoders, vector_spec
from ragkit.engines import disk
from ragkit.engines.folder import read_note
from ragkit.engines.index import Index
from ragkit.engines.opening import chosen_place, open_index, temporary_place
from ragkit.engines.server_options import ServerOptions
from ragkit.errors import RagkitError, amount, shown
from ragkit.files import expanded
from ragkit.paths import cache_dir
from ragkit.vectors import MAX_FLOATS_PER_POINT, Vector

Encoders = Mapping[str, AnyEncoder]
# Edge writes a segment again when it closes it, and wants twice its size free: at the end, that is all of it if small
# copies or a graph are made, else it is closed part by part.
_EXACT, _BUILT = 2, 3
# Of a text, measured with bm25: 1.0 where it is an abstract, 1.6 where it is a few words.
_SPARSE_CHARACTER = 2
# What SQLite takes beside an array, at most: half a page, and the key twice.
_CACHED_TEXT = 2200
# Local mode keeps float32 arrays, and grows them by doubling.
_LOCAL_MEMORY = 2


@dataclass(frozen=True)
class Plan:
    """What an ingest will need at most, predicted before anything is encoded.

    floats: the largest multivector's numbers, of the document `largest`; to_encode: texts that a model must read;
    cache_bytes: what the cache will grow by; index_bytes: what the engine keeps, small copies included;
    disk_bytes: what must be free where `folder` is, beside what is there; memory_bytes: what must stay in memory to
    search, the server's where the index is `remote`. Where it is not and there is no folder, all is in memory.
    """

    documents: int
    floats: int
    largest: str
    to_encode: int
    cache_bytes: int
    index_bytes: int
    disk_bytes: int
    memory_bytes: int
    folder: Path | None
    remote: bool = False

    def __str__(self) -> str:
        place = "the server" if self.remote else "memory" if self.folder is None else str(self.folder)
        whose = "its memory" if self.remote else "memory"
        return (
            f"{self.documents:,} documents, {self.to_encode:,} to encode ({amount(self.cache_bytes)} more in the "
            f"cache); about {amount(self.index_bytes)} in {place}, {amount(self.memory_bytes)} of {whose} to search"
        )

    def check(self) -> None:
        """Raise RagkitError if a point is too large for Qdrant, or memory or a disk too small; before any work."""
        if self.floats > MAX_FLOATS_PER_POINT:
            raise RagkitError(
                f"Document {self.largest!r} would have up to {self.floats:,} floats; Qdrant stores at most "
                f"{MAX_FLOATS_PER_POINT:,} a point. Split the document."
            )
        available = psutil.virtual_memory().available
        if self.memory_bytes > available and not self.remote:
            raise RagkitError(
                f"Searching needs about {amount(self.memory_bytes)} in memory and {amount(available)} are free. Take "
                "fewer documents (--docs), pooled or quantized vectors (colbert-pool2-turbo4), or keep them on disk "
                "(-disk)."
            )
        needed: dict[int, tuple[Path, int]] = {}
        for path, size in ((cache_dir(), self.cache_bytes), (self.folder, self.disk_bytes)):
            if path is not None:
                parent = disk.nearest(path)
                device = parent.stat().st_dev
                needed[device] = (parent, needed.get(device, (parent, 0))[1] + size)
        for path, size in needed.values():
            free = shutil.disk_usage(path).free
            if size > free:
                raise RagkitError(
                    f"This writes up to {amount(size)} to the disk of {path}, which has {amount(free)} free. Choose "
                    "another place (RAGKIT_CACHE, --where), take fewer documents, or pooled or smaller vectors."
                )


@public("The index cannot be planned")
def plan(dataset: Dataset, encoders: Encoders, where: str | Path | None = None) -> Plan:
    """Return what build_index would need, at most; reads the texts, encodes nothing.

    Raises RagkitError if `where` can be no place for an index.
    """
    where = chosen_place(where)
    passages, doc_ids = dataset.passages, dataset.documents["doc_id"].tolist()
    remote, local = where is not None and is_address(where), where == ":memory:"
    folder = None if remote or local else expanded(where) if where is not None else temporary_place()
    floats, largest, small, exact = 0, "", 0, True
    new: dict[tuple[CachedEncoder, str], int] = {}
    specs = {name: vector_spec(name, encoder) for name, encoder in encoders.items()}
    if remote:
        from ragkit.engines.server import require  # half a second to import, and Edge does without

        require(str(where), specs)
    kept = 0
    for name, encoder in encoders.items():
        spec = specs[name]
        if encoder.sparse:
            kept += _SPARSE_CHARACTER * sum(map(len, passages))
            continue
        exact = exact and spec.storage.exact
        rows, absent = encoder.rows(passages)
        most = max(range(len(rows)), key=rows.__getitem__)
        if rows[most] * encoder.dim > floats:
            floats, largest = rows[most] * encoder.dim, doc_ids[most]
        new |= _to_cache(encoder, dict(zip(passages, rows, strict=True)), absent)
        searched = spec.storage.bytes_per_row(encoder.dim) * sum(rows)
        kept += replace(spec.storage, quantization=None).bytes_per_row(encoder.dim) * sum(rows)
        small += searched if spec.storage.quantization or not spec.storage.on_disk else 0
        kept += searched if spec.storage.quantization else 0
    parts = disk.most_segments(len(doc_ids), kept) if folder else 1
    kept += disk.DOCUMENT_BYTES * len(doc_ids)
    more = 0
    if folder is not None:
        anew = 0 if exact else parts  # segments, at the end
        more = kept + disk.least(specs.values(), parts, folder) + disk.closing(specs.values(), anew, folder)
        if where is not None and folder.is_dir():  # a kept index is continued
            more = max(0, more - disk.taken(folder))
    kept += disk.least(specs.values(), parts)
    again = min(more, kept) * ((_EXACT if exact else _BUILT) - 1)  # files made ahead are not written twice
    return Plan(
        documents=len(doc_ids),
        floats=floats,
        largest=largest,
        to_encode=len({text for model, text in new if model.source is None}),
        cache_bytes=sum(new.values()),
        index_bytes=kept,
        disk_bytes=more + again + disk.RESERVE if more else 0,
        memory_bytes=kept * _LOCAL_MEMORY if local else small,
        folder=folder,
        remote=remote,
    )


def _to_cache(encoder: CachedEncoder, rows: dict[str, int], absent: list[str]) -> dict[tuple[CachedEncoder, str], int]:
    """Return how many bytes the absent texts add to the cache, those of what they are pooled from too."""
    new = {(encoder, text): encoder.cache * (4 * encoder.dim * rows[text] + _CACHED_TEXT) for text in absent}
    if encoder.source is not None:
        source_rows, source_absent = encoder.source.rows(absent)
        new |= _to_cache(encoder.source, dict(zip(absent, source_rows, strict=True)), source_absent)
    return new


@public("The index cannot be built")
def build_index(
    dataset: Dataset, encoders: Encoders, where: str | Path | None = None, options: ServerOptions | None = None
) -> tuple[Index, dict[str, float]]:
    """Return the index of a dataset, and the bytes a search reads of a mean document, by name of vectors.

    encoders: one for each name of vectors, as load_encoders returns them. where, options: see open_index. Vectors go
    from the cache to the engine a batch at a time. A kept index of the same documents and models is continued where
    it stopped, or used as it is; a folder or a collection may hold more vectors than are asked for. Raises RagkitError
    as open_index and Plan.check do, before anything is encoded.
    """
    asked, encoders = encoders, {**encoders, **_kept_beside(encoders, where)}
    planned = plan(dataset, encoders, where)
    planned.check()
    passages, doc_ids = dataset.passages, dataset.documents["doc_id"].tolist()
    index = _opened(dataset, encoders, where, options, planned)
    try:
        done = len(index.doc_ids)
        if index.doc_ids != doc_ids[:done]:
            raise RagkitError(
                f"The index at {shown(str(where))} holds other documents in other places; choose another place."
            )
        rows = _documents(encoders, passages, done) if done < len(doc_ids) else []
        # Also when all documents are stored: an interruption may have left the small copies or a graph unmade.
        index.stream(doc_ids[done:], rows)
    except BaseException:
        index.close()
        raise
    return index, {name: _bytes(encoder, vector_spec(name, encoder), passages) for name, encoder in asked.items()}


def check_place(dataset: Dataset, encoders: Encoders, where: str | Path | None, limit: int) -> None:
    """Raise RagkitError for what build_index would raise it for before it encodes, or for too large a limit of queries.

    limit: how many documents a query asks for at most. On a server an empty collection is made where there is none.
    """
    planned = plan(dataset, encoders, where)
    planned.check()
    if planned.remote:
        with _opened(dataset, encoders, where, None, planned) as index:
            index.allow(limit)


def _opened(
    dataset: Dataset, encoders: Encoders, where: str | Path | None, options: ServerOptions | None, planned: Plan
) -> Index:
    passages, doc_ids = dataset.passages, dataset.documents["doc_id"].tolist()
    specs = {name: vector_spec(name, encoder) for name, encoder in encoders.items()}
    content = _hash([doc_ids, passages, *(encoders[name].fingerprint for name in sorted(encoders))])
    made_of = None
    if planned.remote:
        from ragkit.engines.inventory import MadeOf

        models = {name: encoder.fingerprint for name, encoder in encoders.items()}
        documents = _hash([doc_ids, passages])
        made_of = MadeOf(dataset.name, documents, len(doc_ids), models, planned.index_bytes)
    return open_index(where, specs, f"ragkit-{dataset.name}", content, options, made_of)


def _hash(stands_for: list) -> str:
    return hashlib.sha256(repr(stands_for).encode()).hexdigest()  # repr escapes half a character


def _kept_beside(encoders: Encoders, where: str | Path | None) -> Encoders:
    """Return the encoders of the vectors that a folder holds beside those asked for; none if it lacks one of these."""
    place = chosen_place(where)
    if place is None or place == ":memory:" or "://" in place:
        return {}
    note = read_note(expanded(place))
    if note is None or not encoders.keys() < note["vectors"].keys():
        return {}
    return load_encoders([name for name in note["vectors"] if name not in encoders])


def _documents(encoders: Encoders, passages: list[str], done: int) -> Iterator[dict[str, Vector]]:
    streams = {name: _rest(encoder, passages, done) for name, encoder in encoders.items()}
    return (dict(zip(streams, row, strict=True)) for row in zip(*streams.values(), strict=True))


def _rest(encoder: AnyEncoder, passages: list[str], done: int) -> Iterator[Vector]:
    if encoder.depends_on_others:
        return islice(encoder.stream(passages), done, None)
    encoder.prepare(passages[done:])  # before anything is indexed, so that batches are of equal length
    return encoder.stream(passages[done:])


def _bytes(encoder: AnyEncoder, spec, passages: list[str]) -> float:
    if encoder.sparse:
        return sum(vector.nbytes for vector in encoder.encode_documents(passages)) / len(passages)
    return spec.storage.bytes_per_row(spec.dim) * sum(encoder.rows(passages)[0]) / len(passages)
