"""Rows and texts become a collection whole, or are refused with the line that is wrong."""

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
    assert files == ["corpus.jsonl", "qrels/test.tsv", "queries.jsonl"]
    assert (folder / "qrels" / "test.tsv").read_bytes() == b"query-id\tcorpus-id\tscore\n"
    empty = ragkit.load_unjudged(folder)
    assert empty.queries.empty and empty.qrels.empty and list(empty.qrels) == ["query_id", "doc_id", "relevance"]
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "x"}', "utf8")
    with open(folder / "qrels" / "test.tsv", "a", encoding="utf8") as file:
        file.write("q\tb\t1\n")
    loaded = ragkit.load_beir(folder)
    assert loaded.passages == ["1, 2", "é"] and loaded.qrels.values.tolist() == [["q", "b", 1]]


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
    path = csv_file("a,b,c\n1,2,3\n1,,3\n,,\n")
    documents, notes = read_documents(path, text=["c", "b", "a"])
    assert documents["text"].tolist() == ["3\n2\n1", "3\n1", ""]
    assert notes == ("1 of 3 documents have no text: '3'",)


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
    assert [json.loads(line)["_id"] for line in (tmp_path / "to" / "corpus.jsonl").open()] == ["7", "8", "9"]
