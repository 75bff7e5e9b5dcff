"""Folders are written whole or not at all, and what is in the way stays as it is."""

import pytest

from ragkit import RagkitError
from ragkit.files import whole_folder


def fill(path, content="new", **options):
    with whole_folder(path, **options) as stage:
        for name in ("a", "b"):
            (stage / name).write_text(content)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "to") as stage:
        (stage / "a").write_text("half")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_another_is_left_as_it_is(tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    fill(to)
    assert contents(to) == {"a": "new", "b": "new"}
    (to / "b").unlink(), (to / "a").write_text("mine")
    with pytest.raises(RagkitError, match="to cannot be written .*; make room"):
        fill(to, advice="make room")
    assert contents(to) == {"a": "mine"} and list(tmp_path.iterdir()) == [to]


def test_a_folder_that_may_be_added_to_gets_what_it_lacks_and_no_more(tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    (to / "a").write_text("mine")
    fill(to, add=True)
    assert contents(to) == {"a": "mine", "b": "new"} and list(tmp_path.iterdir()) == [to]
