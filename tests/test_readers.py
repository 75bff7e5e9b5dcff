"""Others' files are read as their owners meant them, or refused with the file, the line and what to do."""

import gzip
import io
import json
import os
import sys
import zipfile
import zlib

import pandas as pd
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.cli import main
from ragkit.datasets import readers, trec
from ragkit.datasets.contents import checked_id, checked_text, read_lines, read_text
from ragkit.datasets.qrels import LARGEST_GRADE, grade, read_judgments
from ragkit.encoders.bm25 import Bm25Encoder

TEXTS = ["The cat sat on the warm mat.", "Solar panels make electricity.", "Glaciers move slowly."]
ASKED = ["where does the cat sit", "renewable power from the sun", "ice in motion"]
DOCS = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(TEXTS)]
QUERIES = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(ASKED)]
RIGHT = {("0", "0", 1), ("1", "1", 1), ("2", "2", 1)}
HALF = '"\\ud83d"'  # half an emoji, as JSON spells it


def judged(path):
    return set(read_judgments(path)[0].itertuples(index=False, name=None))


def written(folder, name, content, encoding="utf8"):
    (folder / name).write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return folder / name


# Judgments by the names of their columns.

SHAPES = {
    "ir_datasets": ("query_id\tdoc_id\trelevance\titeration\n", "{q}\t{d}\t{r}\t0\n"),
    "a saved index": ("\tquery-id\tcorpus-id\tscore\n", "9\t{q}\t{d}\t{r}\n"),
    "an index saved twice": ("\tUnnamed: 0\tqid\tdocno\tlabel\n", "1\t7\t{q}\t{d}\t{r}\n"),
    "any order": ("score\tcorpus-id\tquery-id\n", "{r}\t{d}\t{q}\n"),
    "TREC's with names": ("topic\titer\tdocno\trel\n", "{q}\t0\t{d}\t{r}\n"),
    "Q0": ("QID\tQ0\tDocID\tLabel\n", "{q}\tQ0\t{d}\t{r}\n"),
    "MS MARCO's": ("qid\tpid\trel\n", "{q}\t{d}\t{r}\n"),
    "a text beside the ids": ("query\tquery_id\tdoc_id\tscore\n", "some text\t{q}\t{d}\t{r}\n"),
    "in quotes": ('""\t"query-id"\t"corpus-id"\t"score"\n', '"1"\t"{q}"\t"{d}"\t{r}\n'),
    "pandas' floats": ("query-id\tcorpus-id\tscore\n", "{q}\t{d}\t{r}.0\n"),
    "Windows' line ends": ("query-id\tcorpus-id\tscore\r\n", "{q}\t{d}\t{r}\r\n\r\n"),
    "four columns of TREC": ("", "{q}\t0\t{d}\t{r}\n"),
    "three without a header": ("", "{q}\t{d}\t{r}\n"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_judgments_are_read_by_their_columns_names_in_any_order(shape, tmp_path):
    header, row = SHAPES[shape]
    lines = header + row.format(q="q1", d="d7", r=1) + row.format(q="q2", d="d0", r=0)
    qrels, notes = read_judgments(written(tmp_path, "test.tsv", lines))
    assert qrels.values.tolist() == [["q1", "d7", 1], ["q2", "d0", 0]]
    beside = ["qrels test.tsv: the column 'query' was not read"] if shape == "a text beside the ids" else []
    assert notes == beside  # an iteration and an index are understood, and no news


@pytest.mark.slow
@pytest.mark.parametrize(
    "qrels",
    [
        ["query_id\tdoc_id\trelevance\titeration", "0\t0\t1\t0", "1\t1\t1\t0", "2\t2\t1\t0"],
        ["\tquery-id\tcorpus-id\tscore", "0\t2\t2\t1", "1\t1\t1\t1", "2\t0\t0\t1"],
    ],
)
def test_a_comparison_on_numeric_ids_has_the_value_that_the_names_give(qrels, write_collection, own_cache):
    dataset = ragkit.load_beir(write_collection(DOCS, QUERIES, qrels))
    assert set(dataset.qrels.itertuples(index=False, name=None)) == RIGHT
    assert ragkit.compare(dataset, ["dense"], where=":memory:")["dense"].means["nDCG@10"] == 1.0


def test_columns_that_are_not_understood_are_named_in_a_note(write_collection):
    qrels = ["query-id\tcorpus-id\tscore\tassessor\tdate", "0\t0\t1\tann\t2024", "1\t1\t1\tbob\t2024"]
    dataset = ragkit.load_beir(write_collection(DOCS, QUERIES[:2], qrels))
    assert dataset.notes == ("qrels test.tsv: the columns 'assessor', 'date' were not read",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q0\td0\trelevant", "q1\td1\t1"], "line 1: the score is 'relevant', expected a whole number.*query-id"),
        (["q0\td0\tyes", "q1\td1\t1"], "line 1: the score is 'yes'"),
        (["q0\td0\t--1", "q1\td1\t1"], "line 1: the score is '--1'"),
        (["frage\tdokument\tnote", "q1\td1\t1"], r"line 1: .*names are not understood.*qid, topic.*docno.*label"),
        (["query-id\tcorpus-id", "q1\td1"], "line 1: 2 tab-separated fields, and no header.*corpus-id"),
        (["query-id corpus-id score", "q1 d1 1"], "line 1: 1 tab-separated fields.*divided by tabs"),
        (
            ["query-id\tcorpus-id\tscore\trelevance", "q\td\t1\t2"],
            "line 1: the columns 'score' and 'relevance'.*keep one",
        ),
        (["qid\tdocno\tdocid\trel", "q\td\te\t2"], "line 1: the columns 'docno' and 'docid' could both"),
        (["query-id\tcorpus-id\tscore", "q\td\t+-1"], r"line 2: the score is '\+-1'"),
        (["query-id\tcorpus-id\tscore", "q\td\t0.5"], "line 2: the score is '0.5'"),
        (["query-id\tcorpus-id\tscore", "q\td\t"], "line 2: the score is ''"),
        (["query-id\tcorpus-id\tscore", "q\td\t1\tx"], "line 2: 4 tab-separated fields.*3 of the first line"),
        (["query-id\tcorpus-id\tscore", "0\tq\td\t1"], "line 2: 4 tab-separated fields"),  # as R saves row names
        (["query-id\tcorpus-id\tscore", "\td\t1"], "line 2: an empty id"),
        (["\t0\t1\t2", "0\tq\td\t1"], "line 1: an empty id"),  # the header that pandas makes of none
        (["0\tq1\td1\t1", "1\tq1\td2\t0", "2\tq2\td1\t1"], "first counts the lines, as an index of pandas"),
        (['"query-id"\t"corpus-id"\t"score"', '"q\t"d"\t1'], "line 2: cannot be read"),
    ],
)
def test_a_header_or_judgment_that_is_not_understood_is_refused_and_never_dropped(lines, message, tmp_path):
    path = written(tmp_path, "test.tsv", "\n".join(lines))
    with pytest.raises(RagkitError, match=f"test.tsv.*{message}"):
        read_judgments(path)


def test_trecs_iterations_are_no_index(tmp_path):
    assert judged(written(tmp_path, "a", "0\t0\td0\t1\n1\t0\td1\t1\n")) == {("0", "d0", 1), ("1", "d1", 1)}
    assert len(judged(written(tmp_path, "b", "1\t0.5\td0\t1\n1\t1\td1\t1\n2\t1\td1\t1\n"))) == 3  # as TREC-COVID's


def test_quotes_are_characters_of_an_id_unless_the_header_is_in_quotes(tmp_path):
    lines = 'query-id\tcorpus-id\tscore\nq\t"d"\t1\n"q"\td""\t2\n'
    assert judged(written(tmp_path, "a", lines)) == {("q", '"d"', 1), ('"q"', 'd""', 2)}


def test_judgments_in_another_encoding_are_read_by_their_mark_or_refused(tmp_path):
    lines = "query-id\tcorpus-id\tscore\r\nfrüh\td\t1\r\n"
    for marked in ("utf-16", "utf-8-sig", "utf-32"):
        assert judged(written(tmp_path, marked, lines, marked)) == {("früh", "d", 1)}
    with pytest.raises(RagkitError, match="test.tsv, line 2: byte 0xfc is not utf-8.*Save the file as UTF-8"):
        read_judgments(written(tmp_path, "test.tsv", lines, "latin-1"))
    with pytest.raises(RagkitError, match="test.tsv, line 1: a NUL character.*UTF-16"):
        read_judgments(written(tmp_path, "test.tsv", lines, "utf-16-le"))


def test_the_largest_grade_is_one_that_measures_can_bear(tmp_path):
    top = f"q\td\t{LARGEST_GRADE}\nq\te\t-{LARGEST_GRADE}\n"
    qrels, _ = read_judgments(written(tmp_path, "a", top))
    assert qrels["relevance"].tolist() == [10**6, -(10**6)]
    results = pd.DataFrame({"query_id": ["q"], "doc_id": ["d"], "score": [1.0]})
    assert ragkit.per_query(results, qrels)["nDCG@10"].item() == 1.0
    for large in (LARGEST_GRADE + 1, 5 * 10**8, 2**31 - 1, -(2**31), 10**400, "9" * 5000):
        with pytest.raises(RagkitError, match="line 2: the score is .*the largest grade is 1,000,000"):
            read_judgments(written(tmp_path, "b", f"q\td\t1\nq\te\t{large}\n"))
    with pytest.raises(RagkitError, match="somewhere: the score is True"):
        grade(True, "somewhere")


# Splits and queries that are not asked for.


def test_a_split_without_judgments_stops_only_whoever_asks_for_it(write_collection):
    folder = write_collection(DOCS, QUERIES, ["query-id\tcorpus-id\tscore"])
    written(folder / "qrels", "dev.tsv", "query-id\tcorpus-id\tscore\n0\t0\t1\n1\t1\t1\n2\t2\t1\n")
    for name, content in (("empty.tsv", ""), ("packed.tsv.gz", gzip.compress(b"qid\tdocno\trel\n"))):
        written(folder / "qrels", name, content)
    dev = ragkit.load_beir(folder, split="dev")
    assert set(dev.qrels.itertuples(index=False, name=None)) == RIGHT and dev.notes == ()
    for split in ("test", "empty", "packed"):
        with pytest.raises(RagkitError, match=rf"{split}\.tsv.*: no judgments in it. Splits with some: dev"):
            ragkit.load_beir(folder, split=split)


def test_a_split_that_cannot_be_read_is_told_in_a_note_of_another(write_collection):
    folder = write_collection(DOCS, QUERIES[:2], ["0\t0\t1", "1\t1\t1"])
    written(folder / "qrels", "train.tsv", "0\t0\tmany\n")
    (note,) = ragkit.load_beir(folder).notes
    assert "another split cannot be read" in note and "train.tsv, line 1: the score is 'many'" in note
    with pytest.raises(RagkitError, match="train.tsv, line 1"):
        ragkit.load_beir(folder, split="train")


@pytest.mark.parametrize("text", ["", " ", "\u3000\n"])
def test_an_empty_query_stops_only_the_split_that_judges_it(text, write_collection):
    blank = json.dumps({"_id": "blank", "text": text})
    folder = write_collection(DOCS, [*QUERIES, blank], ["0\t0\t1", "1\t1\t1", "2\t2\t1"])
    dataset = ragkit.load_beir(folder)
    assert dataset.queries["query_id"].tolist() == ["0", "1", "2"]
    assert dataset.notes == ("1 queries have no judgment in any split and were left out",)
    written(folder / "qrels", "dev.tsv", "blank\t0\t1\n")
    assert ragkit.load_beir(folder).notes == ()
    with pytest.raises(RagkitError, match="queries.jsonl: the query 'blank' is empty, but judged"):
        ragkit.load_beir(folder, split="dev")
    unjudged = ragkit.load_unjudged(folder)
    assert len(unjudged.queries) == 3 and unjudged.notes == ("1 queries are empty and were left out",)


# Half a character, and NUL: one rule.


@pytest.mark.parametrize(
    ("corpus", "queries", "message"),
    [
        (f'{{"_id": "d", "text": {HALF}}}', None, r"corpus.jsonl, line 4: character 1 is half a character \('\\ud83d'"),
        (f'{{"_id": "d", "text": "", "title": {HALF}}}', None, "corpus.jsonl, line 4: character 1 is half"),
        ('{"_id": "d\\udc4d", "text": ""}', None, "corpus.jsonl, line 4: character 2 is half"),
        ('{"_id": "d\\u0000", "text": ""}', None, r"corpus.jsonl, line 4: the id 'd\\x00' holds a NUL"),
        (None, f'{{"_id": "q", "text": {HALF}}}', "queries.jsonl, line 4: character 1 is half"),
        (None, '{"_id": "\\ud83d", "text": "x"}', "queries.jsonl, line 4: character 1 is half"),
        (None, '{"_id": "\\u0000", "text": "x"}', "queries.jsonl, line 4: the id .* NUL"),
        (None, f'{{"_id": "q", "text": "x", "metadata": {{"kind": {HALF}}}}}', "queries.jsonl, line 4: character 1"),
    ],
)
def test_half_a_character_or_nul_in_an_id_is_refused_with_file_and_line(corpus, queries, message, write_collection):
    folder = write_collection([*DOCS, corpus or ""], [*QUERIES, queries or ""], ["0\t0\t1"])
    for read in (ragkit.load_beir, ragkit.load_unjudged):
        with pytest.raises(RagkitError, match=message):
            read(folder)


def test_whole_characters_and_nul_in_a_text_are_kept(write_collection):
    folder = write_collection([json.dumps({"_id": "🎬", "text": "\U0001f600\0"})], QUERIES[:1], ["0\t🎬\t1"])
    assert ragkit.load_beir(folder).documents["text"].tolist() == ["\U0001f600\0"]


@pytest.mark.parametrize("half", ["\ud83d", "\udc4d", "caf\udce9"])
def test_half_a_character_is_refused_wherever_a_text_comes_from(half, tmp_path, colbert, capsys):
    with pytest.raises(RagkitError, match="Text 1: character"):
        colbert.encode_queries(["fine", f"x {half}"])
    with pytest.raises(RagkitError, match="Text 0: character"):
        Bm25Encoder().encode_documents([half])
    with pytest.raises(RagkitError, match="half a character"):
        ragkit.write_queries(tmp_path, {"q": f"x {half}"})
    for pair in ((half, "d"), ("q", half), ("q", "d\0")):
        with pytest.raises(RagkitError, match="half a character|NUL"):
            ragkit.Judgments(tmp_path / "mine.jsonl").record(*pair, 1)
    assert main(["search", "movies", f"a film {half}"]) == 2
    assert "the argument" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_byte_of_a_name_that_is_not_utf8_is_called_so():
    with pytest.raises(RagkitError, match="the byte 0xe9 of a name that is not UTF-8.*rename the file"):
        checked_text("caf\udce9.csv", "the argument")
    with pytest.raises(RagkitError, match="line 1: the id is empty"):
        checked_id("", "line 1")


# Packed files, Parquet, and what is no text.


def packed(name, content):
    return gzip.compress(content) if name.endswith(".gz") else content


def tables():
    corpus = pd.DataFrame({"_id": ["a", "b"], "title": ["", "T"], "text": ["one", "two"]})
    queries = pd.DataFrame({"_id": [1, 2], "text": ["eins", "zwei"]})
    qrels = pd.DataFrame({"query-id": [1, 2], "corpus-id": ["a", "b"], "score": [1, 0]})
    return {"corpus": corpus, "queries": queries, "qrels/test": qrels}


@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", ".parquet"])
def test_corpus_queries_and_qrels_are_read_in_every_format(end, tmp_path):
    (tmp_path / "c" / "qrels").mkdir(parents=True)
    for name, table in tables().items():
        path = tmp_path / "c" / (name + end)
        if end == ".parquet":
            parquet(table, path)
        elif end.startswith(".tsv"):
            path.write_bytes(packed(end, table.to_csv(sep="\t", index=False).encode()))
        else:
            path.write_bytes(packed(end, table.to_json(orient="records", lines=True).encode()))
    dataset = ragkit.load_beir(tmp_path / "c")
    assert dataset.documents.values.tolist() == [["a", "", "one"], ["b", "T", "two"]]
    assert dataset.queries[["query_id", "text"]].values.tolist() == [["1", "eins"], ["2", "zwei"]]
    assert dataset.qrels.values.tolist() == [["1", "a", 1], ["2", "b", 0]] and dataset.notes == ()
    assert ragkit.load_unjudged(tmp_path / "c").queries["query_id"].tolist() == ["1", "2"]
    assert [path.name for path in readers.files(tmp_path / "c")] == [name.split("/")[-1] + end for name in tables()]


def parquet(table, path):
    try:
        table.to_parquet(path, index=False)
    except ImportError:
        pytest.skip("neither pyarrow nor fastparquet is installed")


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({"qid": ["q"], "docno": ["d"], "rel": [0.5]}, "row 1: the score is 0.5"),
        ({"qid": ["q", "q"], "docno": ["d", None], "rel": [1, 1]}, "row 2: expected a text 'docno', got None"),
        ({"qid": [1.5], "docno": ["d"], "rel": [1]}, "row 1: expected a text 'qid', got 1.5"),
        ({"qid": ["q"], "document text": ["d"], "rel": [1]}, "its columns are 'qid', 'document text', 'rel'; expected"),
        ({"qid": ["q"], "docno": ["d"], "rel": [5 * 10**8]}, "row 1: .*largest grade"),
    ],
)
def test_parquet_judgments_are_held_to_the_same_rules(qrels, message, tmp_path):
    parquet(pd.DataFrame(qrels), tmp_path / "test.parquet")
    with pytest.raises(RagkitError, match=f"test.parquet.*{message}"):
        read_judgments(tmp_path / "test.parquet")


def test_whole_floats_and_integers_are_grades_and_ids_in_parquet(tmp_path):
    parquet(pd.DataFrame({"score": [2.0, 0.0], "corpus-id": [7, 8], "query-id": ["a", "b"]}), tmp_path / "t.parquet")
    assert judged(tmp_path / "t.parquet") == {("a", "7", 2), ("b", "8", 0)}


def test_without_a_reader_of_parquet_the_message_says_which_to_install(tmp_path, monkeypatch):
    written(tmp_path, "corpus.parquet", b"PAR1" + bytes(8) + b"PAR1")
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RagkitError, match="corpus.parquet: .*neither is installed. Run: pip install pyarrow"):
        readers.read_corpus(tmp_path / "corpus.parquet")


def test_damaged_parquet_is_called_so(tmp_path):
    parquet(tables()["corpus"], tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for content, message in (
        (whole[:-4], "not Parquet, though its name says so"),
        (whole[: len(whole) // 2] + b"PAR1", "cannot be read as Parquet"),
        (b"PAR1" + b"\xff" * 30 + b"PAR1", "cannot be read as Parquet"),
        (b"", "not Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
    ):
        with pytest.raises(RagkitError, match=message):
            readers.read_corpus(written(tmp_path, "corpus.parquet", content))


def test_where_two_formats_are_there_a_note_says_which_was_read(write_collection):
    folder = write_collection(DOCS[:1], QUERIES[:1], ["0\t0\t1"])
    written(folder, "corpus.jsonl.gz", gzip.compress(b"other"))
    assert ragkit.load_beir(folder).notes == ("corpus.jsonl was read, and not corpus.jsonl.gz, which is there too",)


@pytest.mark.parametrize("cut", [5, 15, -9, -1])
def test_a_damaged_gzip_file_is_called_so(cut, tmp_path):
    whole = gzip.compress("\n".join(DOCS * 50).encode())
    with pytest.raises(RagkitError, match="corpus.jsonl.gz: a damaged gzip file"):
        readers.read_corpus(written(tmp_path, "corpus.jsonl.gz", whole[:cut]))


def test_gzip_is_told_by_its_bytes_not_its_name(tmp_path):
    broken = bytearray(gzip.compress(b'{"_id": "a", "text": "x"}'))
    assert len(readers.read_corpus(written(tmp_path, "corpus.jsonl", bytes(broken)))) == 1
    broken[-8] ^= 1  # the checksum
    with pytest.raises(RagkitError, match="a damaged gzip file .CRC"):
        readers.read_corpus(written(tmp_path, "corpus.jsonl", bytes(broken)))
    with pytest.raises(RagkitError, match="not gzip, though its name says so"):
        readers.read_corpus(written(tmp_path, "corpus.jsonl.gz", DOCS[0]))
    with pytest.raises(RagkitError, match="packed by gzip twice"):
        readers.read_corpus(written(tmp_path, "corpus.jsonl.gz", gzip.compress(gzip.compress(b"x"))))


def workbook(*names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


NO_TEXT = [
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60), "an old Excel or Word file.*CSV UTF-8"),
    (workbook("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook.*CSV UTF-8"),
    (workbook("word/document.xml"), "a Word document"),
    (workbook("rows.csv"), r"a ZIP archive \(rows.csv\).*unpack it first"),
    (b"PK\x03\x04 torn", "a ZIP archive or office file.*CSV UTF-8"),
    (b"%PDF-1.7\n\xe2\xe3\xcf\xd3", "a PDF"),
    (b"SQLite format 3\0" + bytes(80), "an SQLite database"),
    (b"\x28\xb5\x2f\xfd\x04\x00", "packed by zstd"),
    (b"\x89PNG\r\n\x1a\n" + bytes(9), "a picture"),
    (bytes(257) + b"ustar\x0000", "a tar archive"),
    (b"\x80\x04\x95\x0b\x00", "a Python pickle"),
    (b"\x00\x01\x02\xff\xfe\x00binary", "NUL character|no text"),
]


@pytest.mark.parametrize(("content", "message"), NO_TEXT)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "gzip"])
def test_what_is_no_text_is_told_by_its_first_bytes(content, message, wrapped, tmp_path):
    if wrapped and content.startswith(b"PK"):
        message = "a ZIP archive or office file"
    name, content = ("x.tsv.gz", gzip.compress(content)) if wrapped else ("x.tsv", content)
    path = written(tmp_path, name, content)
    for read in (read_judgments, readers.read_corpus, ragkit.datasets.importing.read_documents):
        with pytest.raises(RagkitError, match=message) as caught:
            read(path)
        assert "cp1252" not in str(caught.value) and name in str(caught.value)


def test_lines_break_where_editors_break_them_and_nowhere_else(tmp_path):
    text = "\ufeffa\r\nb\u2028c\x0bd\n\re"
    for encoding in ("utf8", "utf-16"):
        path = written(tmp_path, "lines", text if encoding == "utf8" else text[1:], encoding)
        assert list(read_lines(path)) == [(1, "a"), (2, "b\u2028c\x0bd"), (3, ""), (4, "e")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"_id": "a", "text": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: JSON nested too deeply"),
        ('{"_id": ' + "9" * 5000 + ', "text": "x"}', "line 2: a number that cannot be read"),
        ("[", "line 2: JSON over several lines.*lines=True"),
        ('[{"_id": "a"}]', "line 2: expected a JSON object, one a line, got a list.*lines=True"),
        ("5", "line 2: expected a JSON object, one a line, got 5"),
    ],
)
def test_json_that_python_cannot_hold_is_refused(line, message, tmp_path):
    with pytest.raises(RagkitError, match=f"corpus.jsonl, {message}"):
        readers.read_corpus(written(tmp_path, "corpus.jsonl", f"{DOCS[0]}\n{line}\n"))


def test_ids_longer_than_csvs_limit_are_read(tmp_path):
    long = "d" * 200_000
    assert judged(written(tmp_path, "a", f"qid\tdocno\trel\nq\t{long}\t1\n")) == {("q", long, 1)}
    with pytest.raises(RagkitError, match="line 2: cannot be read .field larger"):
        read_judgments(written(tmp_path, "b", f'"qid"\t"docno"\t"rel"\nq\t"{long}"\t1\n'))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_pipes_devices_and_folders_are_refused_before_they_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        for read in (read_text, readers.read_corpus, read_judgments, ragkit.datasets.importing.read_documents):
            with pytest.raises(RagkitError, match="a pipe or a device, not a regular file"):
                read(path)
    with pytest.raises(RagkitError, match="is a folder; expected a file"):
        read_judgments(tmp_path)
    with pytest.raises(RagkitError, match="cannot hold NUL"):
        read_text("a\0b")


@pytest.mark.slow
def test_a_file_that_unpacks_to_what_no_text_does_is_refused_before_memory_is_full(tmp_path):
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join([*(packer.compress(b" " * 2**24) for _ in range(36)), packer.flush()])  # of 600 MB
    for name in ("corpus.jsonl.gz", "corpus.tsv.gz"):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(RagkitError, match="unpacks to more than 500.0 MB"):
            readers.read_corpus(tmp_path / name)


def test_a_byte_order_mark_that_is_there_twice_is_no_part_of_an_id(tmp_path):
    (tmp_path / "qrels.tsv").write_bytes(b"\xef\xbb\xbf" * 2 + b"q1\ta\t1\n")
    assert read_judgments(tmp_path / "qrels.tsv")[0]["query_id"].tolist() == ["q1"]


@pytest.mark.parametrize("digits", ["１", "١", "1_0"])
def test_digits_that_only_python_reads_are_no_numbers_of_trec_files(digits, tmp_path):
    (tmp_path / "run.txt").write_text(f"q Q0 a 1 {digits} tag\n", "utf8")
    with pytest.raises(RagkitError, match="no finite number"):
        trec.read_run(tmp_path / "run.txt")
