"""What the process has of the machine."""

import os

import pytest

import ragkit
from ragkit import machine
from ragkit.encoders import embedded
from ragkit.engines import disk
from ragkit.evaluation.retriever import cross_encoder


@pytest.mark.parametrize(
    ("bound_to", "quota", "expected"),
    [
        (8, None, 8),
        (8, "max 100000", 8),
        (8, "200000 100000", 2),
        (8, "150000 100000", 2),  # a core and a half
        (1, "400000 100000", 1),
        (8, "5000 100000", 1),
        (8, "odd", 8),
    ],
)
def test_cores_are_those_that_may_be_used(bound_to, quota, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(bound_to)), raising=False)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n", "ascii")
    assert machine.cores() == expected


def test_an_index_has_a_segment_for_each_core_that_may_be_used(monkeypatch):
    """Edge's threads are four for each of those, and not for each core of the machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    found = []
    for may in (1, 3, 16):
        monkeypatch.setattr("ragkit.engines.disk.cores", lambda may=may: may)
        found.append(disk.segments(10_000))
    assert found == [1, 3, 8]


@pytest.mark.parametrize(("may", "asked", "threads"), [(3, None, 3), (4, None, None), (3, 2, 2)])
def test_a_model_has_a_thread_for_each_core_that_may_be_used(may, asked, threads, monkeypatch):
    """ONNX Runtime's own default, None, is one for each core of the machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr("ragkit.encoders.models.cores", lambda: may)
    assert ragkit.Encoder(embedded.COLBERT, threads=asked)._model.model.threads == threads


def test_so_has_a_cross_encoder(monkeypatch):
    options = {}
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr("ragkit.encoders.models.cores", lambda: 3)
    monkeypatch.setattr("ragkit.encoders._fastembed.bound_hub", lambda: None)
    monkeypatch.setattr("ragkit.evaluation.retriever.TextCrossEncoder", lambda _, **given: options.update(given))
    cross_encoder({})
    assert options["threads"] == 3
