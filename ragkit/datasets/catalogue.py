"""The datasets that are known by name: BEIR's public ones, and those that the kit has a manifest of."""

import json
from dataclasses import dataclass
from typing import Any

from ragkit.errors import RagkitError
from ragkit.files import read_sums
from ragkit.paths import data_dir, shipped


@dataclass(frozen=True)
class Known:
    """A dataset known by name.

    name: as BEIR has it, a part of an archive after a slash; splits: whose qrels there are; url, md5 (hex): of BEIR's
    archive, None where BEIR has none; archive: the archive's name, without ".zip"; manifest: counts and SHA-256 of its
    content, None where the kit has none.
    """

    name: str
    splits: tuple[str, ...]
    archive: str
    url: str | None = None
    md5: str | None = None
    manifest: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """The name as a Dataset, a file or a folder has it.

        >>> Known("cqadupstack/gis", ("test",), "cqadupstack").title
        'cqadupstack-gis'
        """
        return self.name.replace("/", "-")


def manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests under data/beir/, by dataset name.

    Raises RagkitError as paths.shipped does, and for one that is not as docs/make_manifest.py writes it.
    """
    shipped("beir_archives.json")  # so that a damaged list of what there is is told as such
    listed = {name.removeprefix("beir/") for name in read_sums(data_dir()) if name.startswith("beir/")}
    names = sorted(listed | {path.name for path in (data_dir() / "beir").glob("*.json")})
    kinds: dict[str, type] = {"name": str, "splits": dict, "sha256": dict}
    return {name.removesuffix(".json"): _read(f"beir/{name}", kinds) for name in names}


def _read(name: str, kinds: dict[str, type]) -> dict[str, Any]:
    """Return the JSON object in a file that comes with the kit, with keys of these kinds."""
    path = shipped(name)
    try:
        found = json.loads(path.read_text("utf8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in kinds.items()):
        raise RagkitError(
            f"{path} is no JSON object with {', '.join(kinds)}. Make it anew: docs/make_manifest.py, then make sums."
        )
    return found


def catalogue() -> dict[str, Known]:
    """Return every dataset that is known by name, by its name.

    CQADupStack is twelve datasets in one archive, each known by its forum.

    Source: names, splits and checksums of the archives, https://github.com/beir-cellar/beir.

    >>> catalogue()["cqadupstack/gis"].url.rsplit("/", 1)[1]
    'cqadupstack.zip'
    """
    beir = _read("beir_archives.json", {"url": str, "archives": dict})
    own, found = manifests(), {}
    for archive, entry in beir["archives"].items():
        names = [f"{archive}/{part}" for part in entry["parts"]] if "parts" in entry else [archive]
        for name in names:
            url = beir["url"].format(name=archive)
            found[name] = Known(name, tuple(entry["splits"]), archive, url, entry["md5"], own.pop(name, None))
    for name, manifest in own.items():
        found[name] = Known(name, tuple(manifest["splits"]), name, manifest=manifest)
    return found


def lookup(name: str) -> Known | None:
    """Return a dataset by its name, in any case, with a slash or a hyphen before a forum; None if it is unknown.

    >>> lookup("CQADupStack-GIS").name, lookup("nothing")
    ('cqadupstack/gis', None)
    """
    wanted = name.lower().replace("/", "-")
    return next((known for known in catalogue().values() if known.title == wanted), None)
