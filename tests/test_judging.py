"""A pool gives nothing away, and no judgment is lost."""

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import pandas as pd
import pytest

import ragkit
from ragkit.datasets.judging import Judgments, judging_pool, write_queries
from tests.processes import full_after


def run(query_id, *doc_ids):
    ranks = range(1, len(doc_ids) + 1)
    return pd.DataFrame({"query_id": query_id, "doc_id": doc_ids, "rank": ranks, "score": 1.0})


def pairs(frame):
    return list(frame.itertuples(index=False, name=None))


@pytest.fixture()
def judgments(tmp_path):
    return Judgments(tmp_path / "mine.jsonl")


@pytest.fixture()
def collection(write_collection):
    documents = [json.dumps({"_id": f"d{i}", "title": f"<b>{i}</b>", "text": f"text {i}\nmore"}) for i in range(4)]
    queries = ['{"_id": "q2", "text": "second & <i>"}', '{"_id": "q1", "text": "first"}']
    return ragkit.load_unjudged(write_collection(documents, queries, ["query-id\tcorpus-id\tscore"]))


def test_a_pool_is_the_union_of_the_first_of_each_run():
    one = pd.concat([run("q2", "a", "b", "c"), run("q1", "a", "d")])
    other = pd.concat([run("q2", "c", "b", "a"), run("q3", "e")])
    found = judging_pool({"one": one, "other": other}, depth=2)
    expected = {
        (q, d) for frame in (one, other) for q, d, rank in pairs(frame[["query_id", "doc_id", "rank"]]) if rank <= 2
    }
    assert set(pairs(found)) == expected and len(found) == len(expected)
    assert list(found["query_id"].unique()) == ["q2", "q1", "q3"]


def test_the_order_of_a_pool_shows_neither_system_nor_rank():
    ids = [f"d{i}" for i in range(30)]
    forward, backward = run("q", *ids), run("q", *reversed(ids))
    found = judging_pool([forward], 30)["doc_id"].tolist()
    assert (
        found
        == judging_pool([backward], 30)["doc_id"].tolist()
        == judging_pool([backward, forward], 30)["doc_id"].tolist()
    )
    assert found == sorted(ids, key=lambda d: hashlib.sha256(f"q\t{d}".encode()).hexdigest()) != sorted(ids)
    other = judging_pool([run("r", *ids)], 30)["doc_id"].tolist()
    assert other != found  # nor does a document stand in the same place for every query


@pytest.mark.parametrize(("runs", "depth"), [([], 5), ([run("q", "a")], 0), ([run("q", "a").drop(columns="rank")], 5)])
def test_what_cannot_be_pooled_is_refused(runs, depth):
    with pytest.raises(ragkit.RagkitError, match="at least one run|no column rank|depth is 0"):
        judging_pool(runs, depth)


def test_the_later_judgment_of_a_pair_holds_and_the_earlier_stays_in_the_file(judgments):
    for doc_id, relevance in (("a", 0), ("b", 1), ("a", 2)):
        judgments.record("q", doc_id, relevance)
    assert pairs(judgments.table()) == [("q", "a", 2), ("q", "b", 1)]
    lines = [json.loads(line) for line in judgments.path.read_text("utf8").splitlines()]
    assert [line["relevance"] for line in lines] == [0, 1, 2]


def test_another_kernel_goes_on_where_the_first_stopped(judgments):
    both = judging_pool([run("q", "a", "b", "é ü")], 3)
    judgments.record("q", "é ü", 1)
    again = Judgments(judgments.path)
    assert "é ü" not in again.left(both)["doc_id"].tolist() and len(again.left(both)) == 2
    again.record("q", "a", 2)
    assert pairs(judgments.left(both)) == [("q", "b")]


def test_wherever_a_line_is_torn_all_before_it_is_kept_and_the_next_is_whole(judgments):
    judgments.record("q", "a", 1)
    whole = judgments.path.read_bytes()
    judgments.record("q", "bé", 2)
    both = judgments.path.read_bytes()
    for end in range(len(whole), len(both)):
        judgments.path.write_bytes(both[:end])
        kept = [("q", "a", 1)] + ([("q", "bé", 2)] if end == len(both) - 1 else [])  # only its line break is missing
        assert pairs(judgments.table()) == kept
        judgments.record("q", "c", 0)
        assert pairs(Judgments(judgments.path).table()) == [*kept, ("q", "c", 0)]
        assert all(json.loads(line) for line in judgments.path.read_text("utf8").splitlines())


def test_a_line_that_is_no_judgment_is_named_not_skipped(judgments):
    judgments.record("q", "a", 1)
    for line in ("{}", "nonsense", '{"query_id": "q", "doc_id": "b"}', "[1]"):
        judgments.path.write_text(line + "\n" + json.dumps({"query_id": "q", "doc_id": "a", "relevance": 1}) + "\n")
        with pytest.raises(ragkit.RagkitError, match="line 1: no judgment"):
            judgments.table()


def _judge_many(path, query_id):
    for i in range(50):
        Judgments(path).record(query_id, f"d{i}", i % 3)


@pytest.mark.thorough
def test_two_that_judge_at_once_lose_nothing(judgments):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_judge_many, args=(judgments.path, q)) for q in ("q1", "q2")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(judgments.table()) == 100


@pytest.mark.parametrize("relevance", [3, -1, True, None, "2", 0.5])
def test_a_relevance_that_is_no_grade_is_refused_and_not_written(judgments, relevance):
    with pytest.raises(ragkit.RagkitError, match="expected 0 .no answer."):
        judgments.record("q", "a", relevance)
    assert not judgments.path.exists()


@pytest.mark.parametrize("doc_id", ["", "a\tb", "a\n", 7, "a\0", "\ud83d"])
def test_an_id_that_judgments_cannot_hold_is_refused(judgments, doc_id):
    with pytest.raises(ragkit.RagkitError, match="without tabs|NUL|half a character"):
        judgments.record("q", doc_id, 1)
    assert not judgments.path.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"query_id": "q\xe9", "doc_id": "a", "relevance": 1}', "line 2: not UTF-8"),
        (b'{"query_id": "q", "doc_id": "\\ud83d", "relevance": 1}', "line 2: character 1 is half a character"),
        (b'{"query_id": "q", "doc_id": "a", "relevance": 1%b}' % (b"0" * 5000), "line 2: no judgment"),
        (b'{"query_id": "q\\tr", "doc_id": "a", "relevance": 1}', r"line 2: the id 'q\\tr' is no text without tabs"),
        (b'{"query_id": 7, "doc_id": "a", "relevance": 1}', "line 2: the id 7 is no text"),
        (b"[" * 100_000, "line 2: no judgment"),
    ],
)
def test_a_file_of_judgments_is_held_to_the_rules_of_others(line, message, judgments):
    judgments.record("q", "a", 1)
    with open(judgments.path, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ragkit.RagkitError, match=message):
        judgments.table()


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no file's size")
def test_on_a_full_disk_no_judgment_is_acknowledged_and_those_that_were_not_are_written_later(judgments):
    judgments.record("q", "a", 1)
    before = judgments.path.read_bytes()
    with full_after(len(before) * 3 // 2):
        for doc_id, relevance in (("b", 2), ("b", 2), ("c", 0)):
            with pytest.raises(ragkit.RagkitError, match="mine.jsonl cannot be written .* kept in memory"):
                judgments.record("q", doc_id, relevance)
            assert judgments.path.read_bytes() == before
    assert len(judgments.unwritten) == 2
    judgments.record("q", "d", 1)
    assert pairs(judgments.table()) == [("q", "a", 1), ("q", "b", 2), ("q", "c", 0), ("q", "d", 1)]
    assert judgments.unwritten == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_device_is_no_file_of_judgments():
    for call in (lambda j: j.record("q", "a", 1), lambda j: j.table()):
        with pytest.raises(ragkit.RagkitError, match="/dev/full is a folder, a device or a pipe"):
            call(Judgments("/dev/full"))


@pytest.mark.parametrize("grade", ["99", "-1", "1.9", "Infinity", "NaN", "1e30", "1" + "0" * 30, "true", '"1"', "null"])
def test_a_grade_that_was_edited_by_hand_is_refused_with_its_line(grade, judgments):
    judgments.record("q", "a", 1)
    with open(judgments.path, "a", encoding="utf8") as file:
        file.write(f'{{"query_id": "q", "doc_id": "b", "relevance": {grade}}}\n')
    with pytest.raises(ragkit.RagkitError, match="line 2: the relevance is .* expected 0 .no answer"):
        judgments.table()


def test_judgments_become_the_qrels_that_load_beir_reads(collection, judgments, tmp_path):
    with pytest.raises(ragkit.RagkitError, match="nothing has been judged"):
        judgments.write_qrels(tmp_path / "mine")
    write_queries(tmp_path / "mine", {"q1": "first", "q9": "never judged"})
    for doc_id, relevance in (("d0", 0), ("d3", 1), ("d0", 2), ("d1", 0)):
        judgments.record("q1", doc_id, relevance)
    written = judgments.write_qrels(tmp_path / "mine")
    assert written.read_text("utf8") == "query-id\tcorpus-id\tscore\nq1\td0\t2\nq1\td3\t1\nq1\td1\t0\n"
    dataset = ragkit.load_beir(tmp_path / "mine")
    assert dataset.qrels.values.tolist() == judgments.table().values.tolist()
    assert dataset.notes == ("1 queries have no judgment in any split and were left out",)


@pytest.mark.parametrize("queries", [{}, {"": "x"}, {"a\tb": "x"}, {"q": " "}, {"q\0": "x"}, {"q": "\ud83d"}])
def test_queries_that_cannot_be_asked_are_refused(tmp_path, queries):
    with pytest.raises(ragkit.RagkitError, match="expected|NUL|half a character"):
        write_queries(tmp_path, queries)
    assert not list(tmp_path.iterdir())


def everything(dataset):
    runs = [run(q, *dataset.documents["doc_id"]) for q in dataset.queries["query_id"]]
    return judging_pool([pd.concat(runs)], 10)


def parts(widget):
    """The document shown, its buttons, and the progress."""
    shown, buttons, progress = widget.children
    return shown, buttons.children, progress


def test_pressing_the_buttons_judges_every_pair_once_in_the_pools_order(collection, judgments):
    wanted = everything(collection)
    judge = ragkit.judge(wanted, collection, judgments)
    shown, buttons, progress = parts(judge.widget())
    assert [button.description[0] for button in buttons[:3]] == ["0", "1", "2"]
    for i, (_, doc_id) in enumerate(pairs(wanted)):
        assert f"text {doc_id[1:]}\nmore" in shown.value and progress.value == f"{i} of 8 pairs judged"
        buttons[i % 3].click()
        assert len(Judgments(judgments.path).table()) == i + 1  # on the disk before the next is shown
    assert [relevance for *_, relevance in pairs(judgments.table())] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert pairs(judgments.table()[["query_id", "doc_id"]]) == pairs(wanted)
    assert "Every pair is judged" in shown.value and all(button.disabled for button in buttons[:3])
    assert repr(judge) == "8 of 8 pairs judged."


def test_back_returns_to_the_pair_before_and_judges_it_anew(collection, judgments):
    wanted = everything(collection)
    judge = ragkit.judge(wanted, collection, judgments)
    _, buttons, _ = parts(judge.widget())
    assert buttons[3].disabled
    buttons[0].click()
    buttons[1].click()
    buttons[3].click()
    assert judge.current == pairs(wanted)[1]
    buttons[2].click()
    assert judge.current == pairs(wanted)[2]
    assert [relevance for *_, relevance in pairs(judgments.table())] == [0, 2]


def test_judging_goes_on_at_the_first_pair_that_is_left(collection, judgments):
    wanted = everything(collection)
    for query_id, doc_id in pairs(wanted)[:3]:
        judgments.record(query_id, doc_id, 0)
    judge = ragkit.judge(wanted, collection, Judgments(judgments.path))
    assert judge.current == pairs(wanted)[3]
    for _ in range(5):
        judge.record(1)
    assert judge.current is None
    with pytest.raises(ragkit.RagkitError, match="Every pair is judged"):
        judge.record(1)


def test_what_is_shown_is_escaped_and_tells_nothing_of_the_systems(collection, judgments):
    judge = ragkit.judge(everything(collection), collection, judgments)
    shown, _, _ = parts(judge.widget())
    assert "second &amp; &lt;i&gt;" in shown.value and "&lt;b&gt;" in shown.value and "<b>0" not in shown.value
    for secret in ("rank", "score", "dense", "colbert"):
        assert secret not in shown.value + repr(judge)


def test_a_notebook_gets_buttons_and_the_text_form_beside_them(collection, judgments, monkeypatch):
    judge = ragkit.judge(everything(collection), collection, judgments)
    bundle = judge._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    query_id, doc_id = judge.current
    assert f"record({query_id!r}, {doc_id!r}, 0)" in bundle["text/plain"]
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)  # as if it were not installed
    assert judge._repr_mimebundle_() == {"text/plain": repr(judge)}


@pytest.fixture()
def of_passages(write_collection):
    texts = ["The first half, and some", "half, and some of the second"]
    rows = [
        {"_id": f"long#{i}", "title": "Title", "text": text, "metadata": {"document": "long"}}
        for i, text in enumerate(texts, 1)
    ]
    rows.append({"_id": "short", "text": "One sentence."})
    return ragkit.load_unjudged(write_collection(map(json.dumps, rows), ['{"_id": "q1", "text": "first"}'], []))


def test_a_document_cut_into_passages_is_judged_as_the_whole_that_it_was(of_passages, judgments):
    judge = ragkit.judge(judging_pool([run("q1", "long", "short")], 5), of_passages, judgments)
    shown, buttons, _ = parts(judge.widget())
    told = {}
    for _ in range(2):
        told[judge.current[1]] = shown.value
        assert f"record('q1', {judge.current[1]!r}, 0)" in repr(judge)
        buttons[2].click()
    assert "<b>Title</b><br>The first half, and some of the second</div>" in told["long"]
    assert "One sentence.</div>" in told["short"]
    assert set(judgments.table()["doc_id"]) == {"long", "short"}
    folder = judgments.write_qrels(judgments.path.parent / "mine").parent.parent
    assert ragkit.load_beir(folder).has_passages  # so that a comparison counts a document by the best of them


def test_a_pool_of_passages_is_refused_with_how_to_pool_documents(of_passages, judgments):
    with pytest.raises(ragkit.RagkitError, match="'long#2' in the pool is a passage of 'long'.*passage_of"):
        ragkit.judge(judging_pool([run("q1", "short", "long#2")], 5), of_passages, judgments)


def test_a_pool_of_another_collection_is_refused(collection, judgments):
    with pytest.raises(ragkit.RagkitError, match="in the pool, but not both"):
        ragkit.judge(judging_pool([run("q1", "elsewhere")], 5), collection, judgments)


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08", bytes(99), b"a letter", b'{"query_id": "q"\r{"query_id": "r"'])
def test_a_last_line_that_is_no_beginning_of_a_judgment_is_refused_and_left_as_it_is(data, tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(data)
    judgments = ragkit.Judgments(tmp_path / "mine.jsonl")
    for call in (judgments.table, lambda: judgments.record("q", "a", 1)):
        with pytest.raises(ragkit.RagkitError, match="no judgment"):
            call()
    assert (tmp_path / "mine.jsonl").read_bytes() == data


def test_a_file_of_something_else_gets_no_judgment(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Sir,\n", "utf8")
    with pytest.raises(ragkit.RagkitError, match="holds something else than judgments"):
        ragkit.Judgments(tmp_path / "letter.txt").record("q", "a", 1)
    assert (tmp_path / "letter.txt").read_text("utf8") == "Dear Sir,\n"
