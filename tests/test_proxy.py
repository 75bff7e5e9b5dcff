"""A real proxy before a real Qdrant: its limit, certificate, path; `RAGKIT_QDRANT=…/qdrant pytest tests -m server`."""

import os
import shutil
import subprocess
from collections import Counter
from contextlib import contextmanager

import pytest

import ragkit
from ragkit import RagkitError, build_index, load_encoders
from tests.nodes import NAMES, Nodes, assert_alike, dataset, free_ports
from tests.windows import found

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif("RAGKIT_QDRANT" not in os.environ, reason="RAGKIT_QDRANT names no program of Qdrant"),
    pytest.mark.skipif(not shutil.which("nginx"), reason="there is no nginx"),
]
CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
http {{
  access_log {folder}/access.log; client_max_body_size {most}; client_body_buffer_size {most};
  proxy_max_temp_file_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate};
    location /search/qdrant/ {{ proxy_pass {url}/; }}
  }}
}}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Nodes(tmp_path_factory.mktemp("node")) as nodes:
        yield nodes


@contextmanager
def proxy(folder, node, certificate, most):
    """Give the address of nginx before a node, by TLS and below a path; it lets requests of at most so much through."""
    port = free_ports()[0]
    text = CONFIG.format(folder=folder, most=most, port=port, certificate=certificate, url=node.url)
    (folder / "nginx.conf").write_text(text, "utf8")
    process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"])
    try:
        yield f"https://127.0.0.1:{port}/search/qdrant"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture()
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def test_requests_are_halved_until_a_proxy_lets_them_through(node, trusted, tmp_path):
    encoders = load_encoders(NAMES)
    with build_index(dataset(), encoders, tmp_path / "edge")[0] as index:
        expected = found(index, dataset(), NAMES)
    with proxy(tmp_path, node, trusted, "256k") as url, build_index(dataset(), encoders, url)[0] as index:
        answered = found(index, dataset(), NAMES)
        index.client.delete_collection(index.collection)
    statuses = Counter(line.split('" ')[1][:3] for line in (tmp_path / "access.log").read_text("utf8").splitlines())
    assert set(statuses) == {"200", "413"} and statuses["413"] < 10  # each size that is too large once
    assert_alike(answered, expected)


def test_a_document_that_no_proxy_lets_through_is_named(node, trusted, tmp_path):
    movies = ragkit.load_movies()
    with proxy(tmp_path, node, trusted, "4k") as url:  # noqa: SIM117
        with pytest.raises(RagkitError, match=r"(?s)^Document '0' takes .* 413.*client_max_body_size of nginx"):
            build_index(movies, load_encoders(["colbert"]), url)


def test_a_certificate_that_nobody_trusts_is_told(node, certificate, tmp_path):
    with proxy(tmp_path, node, certificate, "1m") as url, pytest.raises(RagkitError, match="(?i)certificate"):
        build_index(ragkit.load_movies(), load_encoders(["dense"]), url)
