"""Exercises: every check says right to what is right, and what is off to what is not, without giving it away."""

import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit.course.checking import CHECKS
from tests.make_exercises import CHECK, EXERCISES, SOLUTIONS, exercise

Q01 = "A movie for kids with fantasy elements and wonders"
# What the solutions found with Qdrant and ir-measures; the checks compute it in another way. 00-a, 01-a, 02-a and 03-b
# have many right answers. The pattern must not be in what is said of a wrong answer.
RIGHT = {
    "00-a": ("Donaudampfschifffahrt", "Donau"),
    "01-a": (f"{Q01} spirit", "spirit|magic"),
    "01-b": (0.904, r"0\.90"),
    "01-c": ((31, 30), r"\b3[01]\b"),
    "02-a": ([0, 90], r"\b90\b|2\.000"),
    "02-b": ("defend", "defend"),
    "02-c": ("q25", "q25"),
    "03-a": (0.794, r"0\.79"),
    "03-b": (("college", "12"), "college"),
    "03-c": (15, r"\b15\b"),
    "04-a": (73_108, "73"),
    "04-b": (8, r"\b8\b"),
    "04-c": (0.848, r"0\.84"),
    "05-a": (["hybrid", "hybrid-dbsf"], "hybrid"),
    "05-b": (582, r"\b58\d\b"),
    "05-c": ({"19": 0.5, "7": 2 / 3, "13": 1 / 2 + 1 / 14}, r"0\.5|0\.6"),
    "06-a": (2191.2, r"2,191|2191"),
    "06-b": (1294, r"\b1294\b"),
    "06-c": (5, r"\b5\b"),
    "07-a": (6, r"\b6\b"),
    "07-b": (0.903, r"0\.90"),
    "08-a": (0.857, r"0\.85"),
    "08-b": (["q40", "q28", "q25", "q34", "q23", "q01", "q33", "q02", "q03", "q05"], r"q\d\d"),
}
# Plausible wrong answers, each with what its feedback must speak of.
WRONG = {
    "00-a": [("..........", "3 rows"), ("two words", "space"), ("Kurosawa", "6 rows: .* ku ##ros ##awa")],
    "01-a": [
        (f"{Q01} samurai", "Kagemusha is first, and Kubo is number 2"),
        (f"{Q01} Kubo", "too easy"),
        ("A movie with a samurai", "Keep the query as it is"),
    ],
    "01-b": [(1.0, "as a query"), (28.924, "whole score"), (28.924 / 16, "rows of the document")],
    "01-c": [
        ((30, 31), "wrong order"),
        ((31, 31), "for embed is off"),
        ((40, 40), "query_embed and the one for"),
    ],
    "02-a": [([0], "1 more row reaches 1.766"), ([200, 300], "reaches 1.632"), ([0, 90, 45], "fewer than 3")],
    "02-b": [("must", "wrong zip"), ("station", "nearer"), ("war", "no token")],
    "02-c": [("q28", "from grade 0 to grade 0"), ("q01", "with and without"), ("q41", "no query")],
    "03-a": [(0.833, "other form"), (0.960, "all 20 films"), (3.418, "is the DCG")],
    "03-b": [
        (("samurai warlord and his double", "3"), "too close"),
        (("a love story", "0"), "neither"),
        (("a film in which somebody leaves for school far away", "12"), "has 10 words"),
    ],
    "03-c": [(10, "6 of 40 queries lose"), (16, "a smaller depth"), (100, "20 films")],
    "04-a": [(5_208_333, "for dense"), (15_625_000, "one row a document"), (4 * 73_108, "one byte")],
    "04-b": [(7, "Not 7"), (20, "cannot share"), (1.5, "whole number")],
    "04-c": [(0.815, "better of the two means"), (0.804, "nobody chose"), (0.848 + 0.015, "is not it")],
    "05-a": [
        (["dense"], "1 of yours cannot be told apart from bm25 and 2 that can are missing"),
        (["dense", "hybrid", "hybrid-dbsf"], "1 of yours cannot"),
        (["hybrid"], "1 that can is missing"),
    ],
    "05-b": [(285, "one sample in two"), (582 * 4, "difference of 0.01"), (300, "Solve")],
    "05-c": [
        ({"19": 1 / 3, "7": 1 / 2, "13": 1 / 3 + 1 / 15}, "from 0"),
        ({"19": 1 / 2, "7": 1 / 3, "13": 1 / 2 + 1 / 14}, "film 7 is off"),
        ({"19": 1.0, "7": 1.0}, "keys 19, 7, 13"),
    ],
    "06-a": [
        (8499.2, "four bytes a number"),
        (4184.4, "every row"),
        (2092.2, "odd number"),
    ],
    "06-b": [(18.246, "of the numbers themselves"), (10.109, "divided by 128"), (1060, "the other way")],
    "06-c": [(3, "factor 2"), (35, "stays the same"), (41, "there are 40")],
    "07-a": [(5, "1 of 40 queries lose"), (7, "a smaller depth"), (100, "20 films")],
    "07-b": [(0.940, "the best row"), (0.113, "all rows"), (1.806, "the sum"), (0.716, "first plane alone")],
    "08-a": [(0.861, "every film judged"), (0.888, "is dense's"), (0.883, "first three of both")],
    "08-b": [
        ([f"q{i:02}" for i in range(1, 11)], "colbert is not ahead"),
        (["q40", "q28", "q21", "q02", "q03", "q05", "q06", "q07", "q08", "q09"], "ahead, but p"),
        (["q40"] * 10, "Ten different queries"),
    ],
}
NOT_ANSWERS = [
    None,
    True,
    "",
    " ",
    "\n",
    "ja",
    1e9,
    -3,
    0,
    float("nan"),
    float("inf"),
    1 + 2j,
    b"q25",
    [],
    (),
    {},
    set(),
]
NOT_ANSWERS += [10**400, 10**5_000, [10**400, 1], [10**5_000, 1], [[1], [1, 2]]]
NOT_ANSWERS += [
    object(),
    b"q25",
    [None, None],
    [[1, 2], [3, 4]],
    np.eye(2),
    np.array(["x", "y"]),
    np.array([]),
    "x" * 5000,
]
NOT_ANSWERS += [pd.Series([1.0, 2.0]), pd.DataFrame({"a": [1]}), {"19": "a", "7": 1, "13": 2}, [{}, {}], len, int]


def each(values):
    """Return one parameter an exercise; those that need SciFact are marked."""
    return [
        pytest.param(name, value, id=f"{name}-{i}", marks=[pytest.mark.scifact] if needs_scifact(name) else [])
        for name, cases in values.items()
        for i, value in enumerate(cases, 1)
    ]


def needs_scifact(name):
    return name.startswith("04") or name in ("05-a", "05-b")


def test_every_exercise_is_tested_with_one_right_and_at_least_three_wrong_answers():
    assert list(RIGHT) == list(WRONG) == list(CHECKS)
    assert min(len(cases) for cases in WRONG.values()) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name, case", each({name: [case] for name, case in RIGHT.items()}))
def test_a_right_answer_is_right(name, case):
    feedback = ragkit.check(name, case[0])
    assert feedback and repr(feedback).startswith("Right. ")


@pytest.mark.slow
@pytest.mark.parametrize("name, case", each(WRONG))
def test_a_wrong_answer_is_told_what_is_off_and_not_what_is_right(name, case):
    answer, said = case
    feedback = ragkit.check(name, answer)
    assert not feedback and repr(feedback).startswith("Not yet. ")
    assert re.search(said, feedback.message), feedback
    own = {str(item) for item in np.ravel(np.array(answer, dtype=object)).tolist()}
    rest = re.sub("|".join(map(re.escape, sorted(own, key=len, reverse=True))), "", feedback.message)
    assert not re.search(RIGHT[name][1], rest), feedback


@pytest.mark.slow
@pytest.mark.parametrize("name, _", each({name: [None] for name in CHECKS}))
def test_what_is_no_answer_at_all_is_told_what_was_expected(name, _):
    for answer in NOT_ANSWERS:
        feedback = ragkit.check(name, answer)
        assert len(feedback.message) < 400 and (not feedback or name in ("00-a", "02-a")), (answer, feedback)


@pytest.mark.parametrize("name", CHECKS)
def test_three_dots_are_no_answer_yet(name):
    assert "three dots" in ragkit.check(name, ...).message


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, answers",
    [
        ("01-b", [np.float32(0.904), np.array(0.904), 0.9041]),
        ("01-c", [[31, 30], (np.int64(31), np.int64(30)), np.array([31.0, 30.0]), pd.Series([31, 30])]),
        ("02-a", [(0, 90), {90, 0}, np.array([90.0, 0.0])]),
        ("02-b", [" defend ", "Defend", np.str_("defend")]),
        ("03-b", [("college", 12), ["college", np.int64(12)]]),
        ("03-c", [np.int64(15), 15.0]),
        ("05-c", [pd.Series({7: 0.667, 19: 0.5, 13: 0.571}), {19: 0.5, 7: 0.667, 13: 0.571}]),
    ],
)
def test_a_right_answer_may_come_in_other_types(name, answers):
    for answer in answers:
        assert ragkit.check(name, answer), answer


def test_an_unknown_exercise_is_an_error_that_names_the_known_ones():
    with pytest.raises(ragkit.RagkitError, match="no exercise '9-z'.*00-a, 01-a"):
        ragkit.check("9-z", 1)


SOLVED = sorted(SOLUTIONS.glob("*.ipynb"))
each_solution = pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)


def test_every_check_is_asked_once_in_the_notebook_of_its_lesson():
    asked = {path.name[:2]: checks_of(path) for path in SOLVED}
    assert sum(asked.values(), []) == list(CHECKS)
    assert all(name.startswith(lesson) for lesson, names in asked.items() for name in names)
    lessons = {path.name for path in SOLUTIONS.parent.glob("0*.ipynb")}
    assert {path.name for path in SOLVED} <= lessons


def checks_of(path):
    return [found[1] for cell in nbformat.read(path, 4).cells if (found := CHECK.match(cell.source))]


@each_solution
def test_the_exercises_are_what_make_exercises_makes_of_the_solutions(path):
    assert nbformat.read(EXERCISES / path.name, 4) == exercise(nbformat.read(path, 4)), "run: make exercises"
    assert len(list(EXERCISES.glob("*.ipynb"))) == len(SOLVED)


@each_solution
def test_an_exercise_keeps_all_but_the_solution(path):
    solution, task = nbformat.read(path, 4), nbformat.read(EXERCISES / path.name, 4)
    mine = {cell.id: cell for cell in solution.cells if "solution" in cell.metadata.get("tags", [])}
    kept = [cell.id for cell in solution.cells if cell.id not in mine or cell.cell_type == "code"]
    assert [cell.id for cell in task.cells] == kept
    names = checks_of(EXERCISES / path.name)
    assert names == checks_of(path)
    stubs = [cell.source for cell in task.cells if cell.source.startswith("# your turn")]
    assert len(stubs) == len(names) and all(re.fullmatch(r"# your turn\n\w+ = \.\.\.", stub) for stub in stubs)
    text = "\n".join(cell.source for cell in task.cells if cell.cell_type == "markdown")
    assert text.count("<summary>Hint</summary>") == len(names)
    everything = json.dumps(task)
    for cell in mine.values():
        assert cell.source not in [kept.source for kept in task.cells]
        assert cell.cell_type == "code" or json.dumps(cell.source)[1:60] not in everything
    assert all(not cell.outputs and cell.execution_count is None for cell in task.cells if cell.cell_type == "code")


@each_solution
def test_a_solution_was_executed_and_is_right(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        outputs = json.dumps(cell.outputs)
        assert '"error"' not in outputs and '"stderr"' not in outputs
        assert not re.search(r"/home/|/root|/tmp|/work|\.venv|0x[0-9a-f]{6,}", outputs)
        assert len(cell.source.splitlines()) <= 15
        if CHECK.match(cell.source):
            assert cell.outputs[0]["data"]["text/plain"].startswith("Right. ")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.scifact] if p.name[:2] in ("04", "05") else []) for p in SOLVED],
)
def test_an_exercise_runs_from_top_to_bottom_with_nothing_answered(path, capsys):
    scope, said = {}, []
    for cell in nbformat.read(EXERCISES / path.name, 4).cells:
        if CHECK.match(cell.source):
            said.append(eval(cell.source, scope))
        elif cell.cell_type == "code":
            exec(cell.source, scope)
    assert len(said) == len(checks_of(path)) and all("three dots" in feedback.message for feedback in said)
