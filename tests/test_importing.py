"""Rows and texts become a collection whole, or are refused with the line that is wrong."""

import contextlib
import gzip
import hashlib
import io
import json
import os

import pandas as pd
import pytest

import ragkit
from ragkit.cli import main
from ragkit.datasets.importing import read_documents
from ragkit.paths import data_dir

FAQ = data_dir() / "library_faq.csv"


@pytest.fixture()
def csv_file(tmp_path):
    def write(text, encoding="utf8", name="rows.csv"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def rows(path, **options):
    return list(read_documents(path, **options)[0].itertuples(index=False, name=None))


def test_the_example_is_read_as_pandas_reads_it(tmp_path):
    folder = ragkit.import_dataset(FAQ, tmp_path / "faq", text="answer", title="question", id="id")
    expected = pd.read_csv(FAQ, dtype=str)
    found = ragkit.load_unjudged(folder).documents
    assert found.values.tolist() == expected[["id", "question", "answer"]].values.tolist()
    assert len(found) == 36 and found["text"].str.contains("\n").any()  # a text of several lines


def test_what_is_written_is_a_beir_collection_that_lacks_only_queries_and_judgments(tmp_path, csv_file):
    folder = ragkit.import_dataset(csv_file('id,t\na,"1, 2"\nb,é\n'), tmp_path / "new" / "c", text="t", id="id")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["corpus.jsonl", "queries.jsonl"]
    empty = ragkit.load_unjudged(folder)
    assert empty.queries.empty and empty.qrels.empty and list(empty.qrels) == ["query_id", "doc_id", "relevance"]
    ragkit.write_queries(folder, {"q": "x"})
    with pytest.raises(ragkit.RagkitError, match="No .*test.tsv. The splits in this folder: none"):
        ragkit.load_beir(folder)
    judgments = ragkit.Judgments(tmp_path / "mine.jsonl")
    judgments.record("q", "b", 1)
    judgments.write_qrels(folder)
    loaded = ragkit.load_beir(folder)
    assert loaded.passages == ["1, 2", "é"] and loaded.qrels.values.tolist() == [["q", "b", 1]]


@pytest.fixture()
def nine(tmp_path, csv_file):
    """A folder of nine documents, of which none is judged."""
    rows = "".join(f"d{i},text {i}\n" for i in range(9))
    return ragkit.import_dataset(csv_file(f"id,t\n{rows}"), tmp_path / "nine", text="t", id="id")


def test_a_subset_of_what_nobody_judged_is_by_the_same_rule_and_says_so(nine):
    ids = [f"d{i}" for i in range(9)]
    first = set(sorted(ids, key=lambda doc_id: hashlib.sha256(doc_id.encode()).hexdigest())[:4])
    load = ragkit.load_unjudged
    dataset = load(nine, 4)
    assert dataset.documents["doc_id"].tolist() == [doc_id for doc_id in ids if doc_id in first]
    assert dataset.notes[0].startswith("a subset of 4 documents, by the smallest hashes of their ids")
    for docs in (None, "all", 9, 20):
        assert load(nine, docs) == load(nine) and load(nine, docs).notes == ()
    with pytest.raises(ragkit.RagkitError, match="docs is 0; expected a whole number from 1"):
        load(nine, 0)


@pytest.mark.parametrize("judged", [0, 1])
def test_commands_read_a_folders_judgments_where_there_are_any(nine, judged, capsys):
    ragkit.write_queries(nine, {"q": "x"})
    judgments = ragkit.Judgments(nine.parent / "mine.jsonl")
    judgments.record("q", "d3", 1)
    if judged:
        judgments.write_qrels(nine)
    assert main(["inspect", str(nine), "--vectors=bm25", "--json=-"]) == 0
    assert json.loads(capsys.readouterr().out)["judgments"] == judged


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("search", ["text", "--system=bm25", "--json=-"], lambda out: len(json.loads(out)["results"])),
        ("inspect", ["--vectors=bm25", "--json=-"], lambda out: json.loads(out)["documents"]),
        ("ingest", ["--vectors=bm25", "--where=kept"], lambda out: int(out.split(" documents in kept")[0].split()[-1])),
    ],
)
def test_commands_take_a_part_of_what_nobody_judged(name, arguments, count, nine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([name, str(nine), *arguments, "--docs=4"]) == 0
    assert count(capsys.readouterr().out) == 4


@pytest.mark.slow
def test_an_imported_folder_is_compared_by_whatever_split_was_judged(tmp_path, csv_file, own_cache):
    path = csv_file("id,t\na,The library opens at nine.\nb,Cards cost five euros.\n")
    folder = ragkit.import_dataset(path, tmp_path / "c", text="t", id="id")
    ragkit.write_queries(folder, {"q1": "when does it open", "q2": "price of a card"})
    judgments = ragkit.Judgments(tmp_path / "mine.jsonl")
    judgments.record("q1", "a", 2)
    judgments.record("q2", "b", 2)
    judgments.write_qrels(folder, split="dev")
    for header in (False, True):  # as an earlier import wrote it
        if header:
            (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n", "utf8")
        dev = ragkit.load_beir(folder, split="dev")
        assert ragkit.compare(dev, ["dense"], where=":memory:")["dense"].means["nDCG@10"] == 1.0


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "utf-16"])
def test_delimiter_and_byte_order_mark_are_found(csv_file, delimiter, encoding):
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["one, two; three\tfour|", 'says "no"\nand "yes"']})
    out = io.StringIO()
    frame.to_csv(out, sep=delimiter, index=False)  # pandas quotes what needs it
    assert rows(csv_file(out.getvalue(), encoding), text="text", id="id") == [
        ("a", "", "one, two; three\tfour|"),
        ("b", "", 'says "no"\nand "yes"'),
    ]


def test_excels_own_line_that_names_the_delimiter_is_obeyed_and_counted(csv_file):
    path = csv_file("sep=;\r\nid;text, all of it\r\na;x\r\n")
    assert rows(path, text="text, all of it", id="id") == [("a", "", "x")]
    with pytest.raises(ragkit.RagkitError, match="line 4: the id is empty"):
        rows(csv_file("sep=;\r\nid;text\r\na;x\r\n;y\r\n"), text="text", id="id")


def test_quoted_headers_and_the_columns_that_are_named_settle_the_delimiter(csv_file):
    assert rows(csv_file('"id";"text"\n"a";"x"\n'), text="text") == [("1", "", "x")]
    assert rows(csv_file("id,a;text,b\n1,2;3,4\n"), text="text,b", delimiter=";") == [("1", "", "3,4")]
    assert rows(csv_file("id;text, long\n1;2\n"), text="text, long") == [("1", "", "2")]
    with pytest.raises(ragkit.RagkitError, match="comma or semicolon; name one"):
        rows(csv_file("a,b;c,d\n1,2;3,4\n"), text="e")


def test_one_column_needs_no_delimiter(csv_file):
    assert rows(csv_file("text\nred\n\nblue\n"), text="text") == [("1", "", "red"), ("2", "", "blue")]


def test_several_columns_are_joined_and_empty_ones_leave_no_gap(csv_file):
    path = csv_file("a,b,c,d\n1,2,3,\n1,,3,\n,,,4\n")
    documents, notes = read_documents(path, text=["c", "b", "a"])
    assert documents["text"].tolist() == ["3\n2\n1", "3\n1", ""]
    assert notes == ("1 of 3 documents have no text: '3'",)


@pytest.mark.parametrize("nothing", [",\n", " ,  \n", ',""\n', ",,,,\n"])
def test_rows_with_nothing_in_them_are_left_out_and_counted(csv_file, nothing):
    path = csv_file(f"id,text\n{nothing}a,hello\n{nothing}\nb,bye\n{nothing}")
    documents, notes = read_documents(path, text="text", id="id")
    assert documents["doc_id"].tolist() == ["a", "b"] and notes == ("3 rows have nothing in them and were left out",)
    assert read_documents(path, text="text")[0]["doc_id"].tolist() == ["1", "2"]
    with pytest.raises(ragkit.RagkitError, match="a header and no rows"):
        read_documents(csv_file(f"id,text\n{nothing}"), text="text")


SWALLOWED = 'id{0}text\n1{0}plain\n2{0}"Stop, he said\n3{0}third\n4{0}fourth says go"\n5{0}fifth\n'
FIVE = ["plain", '"Stop, he said', "third", 'fourth says go"', "fifth"]


@pytest.mark.parametrize("delimiter", ["\t", "|"])
def test_rows_that_a_stray_quote_swallows_are_noticed(csv_file, delimiter):
    path = csv_file(SWALLOWED.format(delimiter))
    with pytest.raises(ragkit.RagkitError, match="begins in line 3 closes lines later.*--quoting none.*--quoting csv"):
        rows(path, text="text", id="id")
    assert [row[2] for row in rows(path, text="text", id="id", quoting="none")] == FIVE
    assert [row[0] for row in rows(path, text="text", id="id", quoting="csv")] == ["1", "2", "5"]


def test_lines_of_a_quoted_text_that_look_like_rows_are_noted_where_commas_divide(csv_file):
    path = csv_file(SWALLOWED.format(";"))
    (note,) = read_documents(path, text="text", id="id")[1]
    assert note.startswith("1 quoted texts hold lines that look like rows") and "line 3)" in note
    assert [row[2] for row in rows(path, text="text", id="id", quoting="none")] == FIVE
    letter = 'id,text\n1,"Dear reader,\nyours, ever, and\ntruly"\n'
    assert read_documents(csv_file(letter), text="text", id="id")[1] == ()


@pytest.mark.parametrize(
    "text", ['1\t"Stop" he said\n', '1\t"Stop he said\n', '1\tsay "Stop"\n2\t"\n', '1\t"Stop\n2\t"go"\n']
)
def test_ms_marcos_quotes_are_characters_where_that_is_said(csv_file, text):
    path = csv_file("pid\tpassage\n" + text, name="collection.tsv")
    with pytest.raises(ragkit.RagkitError, match="--quoting none"):
        rows(path, text="passage", id="pid")
    expected = [line.split("\t") for line in text.splitlines()]
    assert rows(path, text="passage", id="pid", quoting="none") == [(i, "", passage) for i, passage in expected]


def test_an_unknown_quoting_and_a_tab_too_many_are_refused(csv_file):
    with pytest.raises(ragkit.RagkitError, match="no quoting 'all'; expected csv or none"):
        rows(csv_file("id\ttext\na\tx\n"), text="text", quoting="all")
    with pytest.raises(ragkit.RagkitError, match="line 2: 3 fields.*every line is a row"):
        rows(csv_file('id\ttext\na\t"x\ty"\n'), text="text", quoting="none")


def packed(path):
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    return path.with_name(path.name + ".gz")


def test_rows_of_every_kind_make_the_same_documents(tmp_path, csv_file):
    frame = pd.DataFrame({"nr": [7, 8], "name": ["sky", None], "what": ['it\'s "blue"\nand wide', "naïve 🎬"]})
    expected = [("7", "sky", 'it\'s "blue"\nand wide'), ("8", "", "naïve 🎬")]
    (tmp_path / "rows.jsonl").write_text(frame.to_json(orient="records", lines=True), "utf8")
    sources = [frame, frame.set_index("nr"), tmp_path / "rows.jsonl", packed(tmp_path / "rows.jsonl")]
    for name, delimiter in (("rows.csv", ","), ("rows.tsv", "\t")):
        path = csv_file(frame.to_csv(sep=delimiter, index=False), name=name)
        sources += [path, packed(path), str(path)]
    with contextlib.suppress(ImportError):
        frame.to_parquet(tmp_path / "rows.parquet")
        sources.append(tmp_path / "rows.parquet")
    for source in sources:
        assert rows(source, text="what", title="name", id="nr") == expected
    folder = ragkit.import_dataset(frame, tmp_path / "to", text="what", title="name", id="nr")
    assert ragkit.load_unjudged(folder).documents.itertuples(index=False, name=None).__next__() == expected[0]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"t": ["x"]}, {"text": "text"}, "the DataFrame: There is no column 'text' in the header, which has 't'"),
        (
            {"t": ["x", "y"], "i": ["a", "a"]},
            {"text": "t", "id": "i"},
            "row 2: the id 'a' is there twice, first in row 1",
        ),
        ({"t": ["x", "y"], "i": [1, None]}, {"text": "t", "id": "i"}, r"row 1: the id is 1.0.*astype\("),
        ({"t": ["x", "y"], "i": ["a", None]}, {"text": "t", "id": "i"}, "row 2: the id is empty"),
        ({"t": ["x"], "i": [True]}, {"text": "t", "id": "i"}, "row 1: the id is True"),
        ({"t": [["x"]]}, {"text": "t"}, "row 1: the column 't' holds a list, expected text"),
        ({"t": [b"x"]}, {"text": "t"}, "row 1: the column 't' holds a bytes"),
        ({"t": pd.Series(["x", "\ud83d"], dtype=object)}, {"text": "t"}, "row 2, column 't': character 1 is half"),
        ({"t": ["x"], "i": ["a\0"]}, {"text": "t", "id": "i"}, "row 1: the id .* NUL"),
        ({"t": []}, {"text": "t"}, "there are no rows"),
        ({"t": [None, " "]}, {"text": "t"}, "every row is empty"),
        ({"t": ["x"]}, {"text": "t", "delimiter": ";"}, "is a DataFrame, which knows no delimiter"),
        ({"t": ["x"]}, {"text": "t", "encoding": "utf8", "quoting": "csv"}, "knows no encoding and no quoting"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_with_its_row(frame, options, message, tmp_path):
    with pytest.raises(ragkit.RagkitError, match=message):
        ragkit.import_dataset(pd.DataFrame(frame), tmp_path / "to", **options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ragkit.RagkitError, match="Expected a file, a folder or a DataFrame, got list"):
        read_documents([frame], text="t")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"t": "x"}\n{"t": "y \\ud83d"}\n', "line 2, column 't': character 3 is half a character"),
        ('{"t": "x"}\n{"t": ["y"]}\n', "line 2: the column 't' holds a list"),
        ('{"u": "x"}\n', "no column 't' in the header, which has 'u'"),
        ("", "there are no rows"),
        ('[{"t": "x"}]\n', "line 1: expected a JSON object, one a line, got a list"),
    ],
)
def test_json_lines_that_are_no_documents_are_refused_with_their_line(csv_file, lines, message):
    with pytest.raises(ragkit.RagkitError, match=f"rows.jsonl.*{message}"):
        rows(csv_file(lines, name="rows.jsonl"), text="t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"t": "x"}]', "JSON, not delimited rows.*lines=True"),
        ('{\n "t": ["x"]\n}\n', "JSON, not delimited rows"),
        ('{"t": "x"}\n{"t": "y"}\n', "JSON Lines, not delimited rows; give it a name that ends with .jsonl"),
    ],
)
@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.txt"])
def test_json_under_another_name_is_told_from_rows(csv_file, content, message, name):
    with pytest.raises(ragkit.RagkitError, match=message):
        rows(csv_file(content, name=name), text="t")


def test_a_header_that_begins_like_json_is_still_a_header(csv_file):
    assert rows(csv_file("[id],{text}\na,x\n"), text="{text}", id="[id]") == [("a", "", "x")]


BAD = [
    ("id,text\na,x\n", {"text": "txet"}, r"no column 'txet'.*'id', 'text'"),
    ("id,text,text\na,x,y\n", {"text": "text"}, "two columns 'text'"),
    ("id,text\na,x\n", {}, "which columns hold the text.*'id', 'text'"),
    (
        'id,text\na,"x\ny"\nb,z\na,w\n',
        {"text": "text", "id": "id"},
        "line 5: the id 'a' is there twice.*line 2",
    ),
    ("id,text\na,x\n  ,y\n", {"text": "text", "id": "id"}, "line 3: the id is empty"),
    ('id,text\n"a\tb",x\n', {"text": "text", "id": "id"}, "line 2: the id .* tab or line break"),
    ("id,text\na,x\nb,y,z\n", {"text": "text"}, "line 3: 3 fields, but the header has 2"),
    ('id,text\na,"x\n\ny"\nb\n', {"text": "text"}, "line 5: 1 fields, but the header has 2"),
    ('id,text\na,x\nb,"y\nc,z\n', {"text": "text"}, "begins in line 3 cannot be read .*never closed"),
    ('id,text\na,x\nb,"y" z\n', {"text": "text"}, "begins in line 3 cannot be read"),
    ("", {"text": "text"}, "the file is empty"),
    ("\n\n", {"text": "text"}, "the file is empty"),
    ("id,text\n", {"text": "text"}, "a header and no rows"),
    ("id,text\na,x\n", {"text": "text", "delimiter": ",,"}, "one character"),
    ("id,text\na,x\n", {"text": "text", "encoding": "utf-99"}, "no text encoding 'utf-99'"),
    ("id,text\na,x\n", {"text": "text", "encoding": "undefined"}, "no text encoding 'undefined'"),
    ("id,text\na,+2AA-\n", {"text": "text", "encoding": "utf-7"}, "cannot be written|is not utf-7"),
    ("id,text\na,x\nb,\0\n", {"text": "text"}, "line 3: a NUL character"),
]


@pytest.mark.parametrize(("content", "options", "message"), BAD)
def test_what_cannot_be_read_is_refused_with_its_line(csv_file, tmp_path, content, options, message):
    path = csv_file(content)
    with pytest.raises(ragkit.RagkitError, match=message):
        ragkit.import_dataset(path, tmp_path / "to", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_bytes_of_another_encoding_are_refused_until_it_is_named(csv_file):
    path = csv_file("id,text\na,plain\nb,café\n", "cp1252")
    with pytest.raises(ragkit.RagkitError, match="line 3: byte 0xe9 is not utf-8.*--encoding"):
        rows(path, text="text")
    assert rows(path, text="text", encoding="cp1252")[1] == ("2", "", "café")


def test_a_workbook_and_a_missing_file_are_told_from_text(tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ragkit.RagkitError, match="CSV UTF-8"):
        rows(tmp_path / "rows.xlsx", text="text")
    with pytest.raises(ragkit.RagkitError, match="No file"):
        rows(tmp_path / "none.csv", text="text")


def test_fields_longer_than_csvs_own_limit_are_read_and_the_limit_is_left_alone(csv_file):
    import csv

    limit = csv.field_size_limit()
    assert len(rows(csv_file("text\n" + "word " * 100_000 + "\n"), text="text")[0][2]) == 499_999
    assert csv.field_size_limit() == limit


def test_a_folder_is_a_document_a_file_with_its_path_as_id(tmp_path):
    source = tmp_path / "notes"
    (source / "deep" / "er").mkdir(parents=True)
    (source / ".hidden").mkdir()
    for name, text in {"b.txt": "bee\n", "deep/er/A.MD": "# eh", "c.pdf": "no", ".hidden/d.txt": "no"}.items():
        (source / name).write_text(text, "utf8")
    documents, notes = read_documents(source)
    assert documents.values.tolist() == [["b.txt", "", "bee"], ["deep/er/A.MD", "", "# eh"]]
    assert notes == ("1 files were left out: neither .txt nor .md",)
    with pytest.raises(ragkit.RagkitError, match="a folder, which has no columns"):
        read_documents(source, text="text")
    (source / "z.txt").write_bytes(b"fine\n\xff\xfb")
    with pytest.raises(ragkit.RagkitError, match=r"z\.txt, line 2: byte 0xff is not utf-8"):
        read_documents(source)


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX")
def test_a_file_name_that_is_not_utf8_is_called_so(tmp_path):
    (tmp_path / "notes").mkdir()
    odd = os.fsencode(tmp_path / "notes") + b"/caf\xe9.txt"
    try:
        with open(odd, "w", encoding="utf8") as file:
            file.write("x")
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ragkit.RagkitError, match=r"the name of the file b'caf\\xe9.txt' is not UTF-8.*rename it"):
        ragkit.import_dataset(tmp_path / "notes", tmp_path / "to")
    for call in (
        lambda: read_documents(os.fsdecode(odd)),
        lambda: ragkit.import_dataset(FAQ, "x\udce9", text="answer"),
    ):
        with pytest.raises(ragkit.RagkitError, match="not UTF-8.*rename the file"):
            call()
    assert not (tmp_path / "to").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_among_the_texts_of_a_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ragkit.RagkitError, match="a.txt is a pipe or a device"):
        read_documents(tmp_path)


def test_a_folder_without_texts_is_refused(tmp_path):
    (tmp_path / "c.pdf").write_text("no")
    with pytest.raises(ragkit.RagkitError, match="no .txt or .md file in it"):
        read_documents(tmp_path)


def test_a_collection_that_is_there_is_never_overwritten(tmp_path, csv_file):
    path, to = csv_file("text\nx\n"), tmp_path / "to"
    to.mkdir()  # an empty folder is as good as none
    ragkit.import_dataset(path, to, text="text")
    before = (to / "corpus.jsonl").read_bytes()
    with pytest.raises(ragkit.RagkitError, match="is there already"):
        ragkit.import_dataset(csv_file("text\ny\n"), to, text="text")
    assert (to / "corpus.jsonl").read_bytes() == before
    with pytest.raises(ragkit.RagkitError, match="is there already"):
        ragkit.import_dataset(path, path, text="text")


def test_a_collection_is_written_whole_or_not_at_all(tmp_path, csv_file, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    path = csv_file("text\nx\n")
    monkeypatch.setattr("pathlib.Path.touch", fail)  # after the corpus, before the rest
    with pytest.raises(ragkit.RagkitError, match="cannot be written .disk full"):
        ragkit.import_dataset(path, tmp_path / "to", text="text")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_others_may_read_what_was_written(tmp_path, csv_file):
    folder = ragkit.import_dataset(csv_file("text\nx\n"), tmp_path / "to", text="text")
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.slow
def test_the_command_line_imports_and_then_searches_before_anything_is_judged(tmp_path, csv_file, capsys, own_cache):
    path = csv_file("nr;name;what\n7;fox;a red animal\n8;sky;\n9;sea;deep blue water\n")
    to = str(tmp_path / "to")
    columns = ["--text", "name", "what", "--title", "name", "--id", "nr"]
    assert main(["import", str(path), *columns, "--to", to]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"3 documents in {to}"
    assert main(["search", to, "ocean", "--system", "dense", "--where", ":memory:", "--limit", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["1", "9", "sea"]
    assert main(["import", str(path), *columns, "--to", to]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["import", str(path), "--text", "what", "--id", "nr", "--to", f"{to}2"]) == 0
    assert "1 of 3 documents have no text: '8'" in capsys.readouterr().out
    path.write_text(SWALLOWED.format("\t") + "\t\n", "utf8")
    tsv = ["import", str(path), "--text", "text", "--id", "id", "--to", f"{to}3"]
    assert main(tsv) == 2
    assert "--quoting none" in capsys.readouterr().err
    assert main([*tsv, "--quoting", "none"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"5 documents in {to}3",
        "Note: 1 rows have nothing in them and were left out.",
    ]
    assert [json.loads(line)["_id"] for line in (tmp_path / "to" / "corpus.jsonl").open()] == ["7", "8", "9"]
