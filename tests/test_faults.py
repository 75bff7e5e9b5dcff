"""The runner of `make faults` notices what a trial can come to."""

import json

import pytest

from ragkit import RagkitError
from tests.faults import __main__ as faults
from tests.faults import running
from tests.faults.trials import CLEAR, SURVIVED, WRONG, ask, command_said, well_said


@pytest.mark.thorough
def test_every_way_to_end_is_noticed():
    found = {o.name: (o.outcome, o.how) for o in running.run("toy", seed=0, share=1, workers=1)}
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "refused": CLEAR,
        "went on": SURVIVED,
        "another exception": WRONG,
        "in silence another result": WRONG,
        "a dead process": WRONG,
        "a hang": WRONG,
        "went on after them": SURVIVED,
    }
    assert "KeyError" in found["another exception"][1]
    assert "SIGABRT" in found["a dead process"][1]
    assert "not done after 1 second" in found["a hang"][1]


def test_a_message_may_not_hold_a_secret_or_control_characters():
    def fail(message):
        raise RagkitError(message)

    assert ask(lambda: fail("well said")) == CLEAR
    for bad in ("key-1", " "):
        with pytest.raises(AssertionError):
            ask(lambda bad=bad: fail(bad), secrets=("key-1",))
    for bad in ("key-1", "bell \x07", "x" * 3000, " "):  # a RagkitError cuts and escapes, but a command may print more
        with pytest.raises(AssertionError):
            well_said(bad, ("key-1",))


def test_a_command_ends_with_0_or_with_2_and_a_word():
    assert (command_said(0, ""), command_said(2, "error: no such file")) == (SURVIVED, CLEAR)
    for status, errors in ((1, "error: x"), (2, ""), (-7, ""), (2, "Traceback (most recent call last)\nerror: x")):
        with pytest.raises(AssertionError):
            command_said(status, errors)


def test_areas_that_a_run_leaves_out_keep_their_rows_if_seed_and_versions_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "FOUND", tmp_path / "faults.json")
    old = {"seed": 0, "date": "2026-01-01", "wrong": [{"area": "kills"}, {"area": "disks"}]}
    old["rows"] = [{"area": "kills", "tried": 1}, {"area": "disks", "tried": 2}]
    new = {"seed": 0, "date": "2026-01-02", "wrong": [], "rows": [{"area": "kills", "tried": 3}]}
    assert faults._with_others(new) == new
    faults.FOUND.write_text(json.dumps(old))
    joined = {"wrong": [{"area": "disks"}], "rows": [{"area": "kills", "tried": 3}, {"area": "disks", "tried": 2}]}
    assert faults._with_others(new) == new | joined
    assert faults._with_others(new | {"seed": 1}) == new | {"seed": 1}


def test_what_is_said_of_faults_is_the_committed_run():
    report = json.loads(faults.FOUND.read_text("utf8"))
    for path, text in faults.pages(report).items():
        assert path.read_text("utf8") == text, f"{path.name} is not what `make faults` would write"
    assert f"wrong: {len(report['wrong'])}." in faults.sentence(report)
