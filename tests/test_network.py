"""Requests end: against a server that drips, never stops, or is far larger than it must be."""

import itertools
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest

from ragkit import RagkitError, network
from tests.faults.answers import bomb, drip, endless, head, page, raw, silent
from tests.faults.servers import Files


@contextmanager
def client(url, timeout=5, most=None, **options):
    """A bound client, and the address to ask; over a proxy if there are mounts."""
    with httpx.Client(timeout=timeout, base_url=url, **options) as made:
        network.bound(made, most)
        yield made


@pytest.fixture()
def seconds(monkeypatch):
    """A clock that a second passes on at each look."""
    clock = itertools.count()
    monkeypatch.setattr(network, "monotonic", lambda: next(clock))


DRIPS = {
    "a body": drip(head("200 OK", "Content-Length: 999"), b" ", 0.001),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.001),
    "100 Continue": drip(b"", head("100 Continue"), 0.001),
}


@pytest.mark.parametrize("write", DRIPS.values(), ids=DRIPS)
def test_a_drip_meets_the_deadline(write, seconds):
    with Files({"*": write}) as server, client(server.url) as asking, pytest.raises(httpx.TimeoutException):
        asking.get("/")


def test_a_drip_meets_the_deadline_over_a_proxy_too(seconds, monkeypatch):
    with Files({"*": DRIPS["a body"]}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with client("http://nowhere.invalid") as asking, pytest.raises(httpx.TimeoutException, match="deadline"):
            asking.get("/")
        assert proxy.seen[0][1] == "http://nowhere.invalid/"


def test_the_deadline_moves_with_what_arrives(seconds):
    with Files({"*": b"x" * 40 * network.LEAST_RATE}) as server, client(server.url) as asking:
        assert len(asking.get("/").content) == 40 * network.LEAST_RATE


def test_a_server_that_takes_nothing_meets_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with client(url, timeout=1) as asking, pytest.raises(httpx.WriteTimeout):
            asking.put("/", content=bytes(50_000_000))


ENDLESS = {
    "a body": endless(head("200 OK"), b" " * 2**20),
    "100 Continue": endless(b"", head("100 Continue") * 1000),
}


@pytest.mark.slow
@pytest.mark.parametrize("write", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_without_an_end_is_refused(write, monkeypatch):
    monkeypatch.setattr(network, "MOST_UNTOLD", 2**21)
    with Files({"*": write}) as server, client(server.url) as asking, pytest.raises(RagkitError, match="larger than"):
        asking.get("/")


def test_an_answer_may_be_as_large_as_agreed_and_no_larger():
    with Files({"/a": b"x" * 1000, "/b": b"x" * 200_000}) as server, client(server.url, most=100_000) as asking:
        assert len(asking.get("/a").content) == 1000
        with pytest.raises(RagkitError, match="larger than"):
            asking.get("/b")


def test_a_compressed_answer_is_not_unpacked():
    zeros = page("200 OK", bomb(2**24), "Content-Encoding: gzip")
    with Files({"*": zeros}) as server, client(server.url) as asking:
        with pytest.raises(RagkitError, match=r"compressed \(gzip\), which was not asked for"):
            asking.get("/")
        assert "Accept-Encoding: identity" in server.seen[0][2]


def test_two_threads_have_a_deadline_each(monkeypatch):
    monkeypatch.setattr(network, "_MOST_HEAD", 10**6)
    with Files({"/good": b"x" * 10**6, "/bad": ENDLESS["a body"]}) as server, client(server.url) as asking:
        monkeypatch.setattr(network, "MOST_UNTOLD", 2**21)
        sizes, errors = [], []

        def good():
            sizes.extend(len(asking.get("/good").content) for _ in range(20))

        def bad():
            for _ in range(5):
                with pytest.raises(RagkitError):
                    asking.get("/bad")
                errors.append(1)

        threads = [threading.Thread(target=work) for work in (good, bad)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sizes == [10**6] * 20 and len(errors) == 5


def test_a_file_is_fetched_and_a_redirect_does_not_take_the_password_along(tmp_path):
    with Files({"/there": b"content"}) as other:
        moved = page("302 Found", b"", f"Location: {other.url.replace('127.0.0.1', 'localhost')}/there")
        with Files({"/here": moved}) as server:
            network.fetch(server.url.replace("//", "//me:s3cret@") + "/here", tmp_path / "file")
            assert "Authorization" in server.seen[0][2] and "Authorization" not in other.seen[0][2]
    assert (tmp_path / "file").read_bytes() == b"content"


UNFETCHED = {
    "404": (page("404 Not Found", b""), "it answered 404"),
    "204": (raw(head("204 No Content")), "it answered 204"),
    "more than there is room for": (raw(head("200 OK", "Content-Length: 999999999999999999")), "it says that it is"),
    "cut": (raw(head("200 OK", "Content-Length: 9") + b"x"), "connection was cut"),
    "a redirect to a file": (page("302 Found", b"", "Location: file:///etc/passwd"), "leads to no address"),
    "silence": (silent, "no answer in time"),
    "control characters": (raw(b"\x1b[31m\r\n\r\n"), r"cut: .*\\x1b\[31m"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("write", "why"), UNFETCHED.values(), ids=UNFETCHED)
def test_why_a_file_was_not_given_is_said(write, why, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "_FETCH_TIMEOUT_S", 1)
    with Files({"*": write}) as server, pytest.raises(network.Unreachable, match=why):
        network.fetch(f"{server.url}/file", tmp_path / "file")
