"""Make the manifest of a dataset from its files: `python docs/make_manifest.py NAME FOLDER`.

The manifest says how many documents and queries there are, and the SHA-256 of their content and of each split's
judgments, so that whoever reads the dataset later, from wherever, knows that it is the same.
"""

import json
import sys
from pathlib import Path

from ragkit.datasets import readers
from ragkit.datasets.beir import content_sha256
from ragkit.datasets.qrels import read_judgments
from ragkit.files import write_text
from ragkit.paths import data_dir


def manifest(name: str, folder: Path) -> dict:
    """Return the manifest of the dataset in a folder with BEIR's layout."""
    documents = readers.read_corpus(folder / "corpus.jsonl")
    queries = readers.read_queries(folder / "queries.jsonl")
    splits = {}
    for path in sorted((folder / "qrels").glob("*.tsv")):
        qrels, _ = read_judgments(path)
        sums = content_sha256(documents, queries, qrels)
        splits[path.stem] = {
            "queries": qrels["query_id"].nunique(),
            "judgments": len(qrels),
            "judged_documents": qrels["doc_id"].nunique(),
            "sha256": sums.pop("qrels"),
        }
    return {"name": name, "documents": len(documents), "queries": len(queries), "sha256": sums, "splits": splits}


if __name__ == "__main__":
    made = json.dumps(manifest(sys.argv[1], Path(sys.argv[2])), indent=1)
    write_text(data_dir() / "beir" / f"{sys.argv[1]}.json", made + "\n")
    print(made)
