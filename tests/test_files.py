"""Files and folders are written whole or not at all, and what is in the way stays as it is."""

import os
import stat
import threading
from pathlib import Path

import pytest

from ragkit import RagkitError
from ragkit.files import beside, whole, whole_folder, write_text
from tests.processes import Killed

unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


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


def hold_and_write(say, path):
    with beside(path) as room:
        say(str(room))
        (room / "half").write_text("half")
        with whole(path) as stage:
            stage.write_text("never")
            os.rename(stage, stage)  # the change before which it is killed


@pytest.mark.slow
@unix
@pytest.mark.parametrize("change", range(8))
def test_what_a_killed_process_left_is_deleted_by_the_next_writer_of_the_same_file(change, tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("old")
    assert not Killed(hold_and_write, path, change=change).ended
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["note.txt"]


@unix
def test_what_a_living_one_is_writing_stays(tmp_path):
    with whole(tmp_path / "note.txt") as stage:
        stage.write_text("mine")
        write_text(tmp_path / "note.txt", "another's")
        write_text(tmp_path / "note.txt-2", "a file whose name begins so")
    assert (tmp_path / "note.txt").read_text() == "mine" and len(os.listdir(tmp_path)) == 2


@unix
def test_a_device_is_written_to_and_never_replaced(tmp_path):
    device = tmp_path / "null"
    os.mkfifo(tmp_path / "pipe")
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        device = Path("/dev/null")  # which nobody but root could replace
    write_text(device, "gone")
    assert stat.S_ISCHR(device.stat().st_mode)
    with pytest.raises(RagkitError, match="null is a device or a pipe and is not replaced"), whole(device):
        pass
    with pytest.raises(RagkitError, match="pipe cannot be written"):  # nobody reads from it
        write_text(tmp_path / "pipe", "heard")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    reader.start()
    while not heard:
        try:
            write_text(tmp_path / "pipe", "heard")
            break
        except RagkitError:
            pass  # not open yet
    reader.join()
    assert heard == ["heard"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@unix
def test_a_full_device_is_a_clear_error():
    with pytest.raises(RagkitError, match="/dev/full cannot be written .*No space left"):
        write_text("/dev/full", "much")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@unix
def test_a_link_stays_one_and_its_file_is_written_anew(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "note.txt").write_text("old")
    (tmp_path / "there" / "note.txt").chmod(0o600)
    (tmp_path / "link").symlink_to("there/note.txt")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "note.txt").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "there" / "note.txt").stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="there is no /proc")
@pytest.mark.parametrize("path", ["/proc/ragkit", "/proc/version"])
def test_a_folder_that_takes_no_files_is_refused_and_not_tried_for_ever(path):
    with pytest.raises(RagkitError, match="cannot be written"):
        write_text(path, "text")
