"""What needs a model hub: `pytest -m online`. Skipped unless asked for."""

import pytest

import ragkit


@pytest.mark.online
def test_colbertv2_gives_what_the_tutorial_printed(movies, capsys):
    encoder = ragkit.Encoder("colbert-ir/colbertv2.0")
    vectors = encoder.encode_documents(movies.passages)
    assert vectors[0].shape == (33, 128)
    with ragkit.open_index(":memory:", {"colbert": ragkit.VectorSpec(128, True)}) as index:
        index.add(movies.documents["doc_id"], {"colbert": vectors})
        query = encoder.encode_queries(["A movie for kids with fantasy elements and wonders"])[0]
        [(doc_id, score)] = index.search(query, "colbert", limit=1)
    with capsys.disabled():
        print(
            f"\ncolbert-ir/colbertv2.0: document {doc_id}, {score:.6f}; the page, with an older FastEmbed: 4, 12.063469"
        )
    assert doc_id == "4"
