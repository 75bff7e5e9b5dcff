"""The user and the password of an address are shown nowhere."""

import re
import ssl

import numpy as np
import pytest
from qdrant_client import models

from ragkit import RagkitError, VectorSpec, load_beir, open_client, open_index
from ragkit.addresses import is_address
from ragkit.cli import main
from ragkit.errors import shown
from tests.stub_server import Answer, StubServer

# As a careless person would write it, and as one should.
PASSWORDS = ["s3cret", "s3cret@home", "s3cret/#?&:x", "s3cret%40x", "s3cret://x"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_only_what_follows_the_password_is_shown(password):
    assert shown(f"http://reader:{password}@qdrant.example:6333/one") == "http://…@qdrant.example:6333/one"
    assert shown(f"--where=https://reader:{password}@host") == "--where=https://…@host"


def test_a_key_in_the_query_is_not_shown():
    assert shown("https://qdrant.example:6333?api_key=s3cret") == "https://qdrant.example:6333?…"


@pytest.mark.parametrize(
    "text", ["http://localhost:6333", "https://h/path/", "./a@b/folder", "C:\\a?b", ":memory:", ""]
)
def test_what_holds_no_secret_is_shown_as_it_is(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        *[(half, "only half of one; did you mean 'http://host'") for half in ("http:/host", "http:host", "//host")],
        ("localhost:6333", "did you mean 'http://localhost:6333'"),
        ("grpc://host:6334", "begins with grpc://; expected a folder, or an address that begins with http://"),
        *[(f"http://host:{port}", "its port is no number from 1 to 65535") for port in ("99999", "-1", "port", "1.5")],
        ("http://host:0", "with port 0"),
        *[(none, "names no host") for none in ("http://", "http:///x", "http://:6333", "http://a..b", "http://[::1]x")],
        *[(half, "each begins with http:// or https://") for half in ("http://a:1,b:1", "http://a:1, b:1/x")],
        ("http://[::1", "its brackets hold no IPv6 address"),
        *[(odd, "a space or a control character") for odd in ("http://a b", "http://a\n b", "http://\x1b[31m")],
    ],
)
def test_what_can_be_no_address_is_refused_and_no_folder_is_made(address, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_address(address)
    for place in (address, None):
        monkeypatch.setenv("QDRANT_URL", address)
        with pytest.raises(RagkitError, match=re.escape(message)) as caught:
            open_index(place, {"dense": VectorSpec(2)})
        assert str(caught.value).isprintable() and not list(tmp_path.iterdir())
    monkeypatch.setenv("RAGKIT_MIRROR", address)
    with pytest.raises(RagkitError, match="RAGKIT_MIRROR.*" + re.escape(message)):
        load_beir("cranfield")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["HTTP://{}", "Http://{}/", " http://{}\n", "http://{}//"])
def test_an_address_in_another_form_is_the_same(form, stub):
    with open_index(form.format(stub.url.removeprefix("http://")), {"dense": VectorSpec(2)}) as index:
        assert index.url == stub.url


@pytest.mark.parametrize("text", ["films", "./a@b", "C:/films", ":memory:", "/srv/http", "https", "a:b"])
def test_folders_are_no_addresses(text):
    assert not is_address(text)


@pytest.fixture()
def stub(monkeypatch, own_cache):
    for name in ("QDRANT_URL", "QDRANT_API_KEY", "QDRANT_SHARDS", "QDRANT_REPLICAS"):
        monkeypatch.delenv(name, raising=False)
    with StubServer() as server:
        yield server


def is_a_server(url):
    """Documents are stored at an address, and found."""
    with open_index(url, {"dense": VectorSpec(2)}) as index:
        index.add(["a", "b"], {"dense": [np.array([1, 0], np.float32), np.array([0, 1], np.float32)]})
        return [doc_id for doc_id, _ in index.search(np.array([0, 1], np.float32), "dense", 2)] == ["b", "a"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_behind_a_path(stub, end):
    with StubServer(prefix="/search/qdrant") as proxied:
        assert is_a_server(f"{proxied.url}/search/qdrant{end}")
        assert all(request.status == 200 for request in proxied.requests("PUT", "/points"))
        with pytest.raises(RagkitError, match="at another path; /dashboard is no part of its address.*404"):
            is_a_server(proxied.url)


@pytest.mark.slow
def test_a_certificate_of_ones_own_is_believed_where_ssl_cert_file_names_it(stub, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with StubServer(tls=context) as own:
        url = own.url.replace("http://", "https://")
        with pytest.raises(RagkitError, match="(?i)certificate"):
            is_a_server(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert is_a_server(url)


@pytest.fixture()
def secret(stub):
    return stub.url.replace("http://", "http://reader:s3cret@")


def written(folder, capsys):
    """All that was printed, and all that was written to a folder."""
    printed = capsys.readouterr()
    return printed.out + printed.err + "".join(path.read_text("utf8") for path in folder.rglob("*.*"))


@pytest.mark.slow
def test_doctor_and_comparison_show_no_password(stub, secret, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    files = ["--json", str(out / "c.json"), "--html", str(out / "c.html")]
    assert main(["compare", "movies", "--systems", "dense", "--where", secret, *files]) == 0
    text = written(out, capsys)
    assert "s3cret" not in text and "reader" not in text
    assert text.count(stub.url.replace("http://", "http://…@")) >= 2  # the command, in JSON and in HTML
    monkeypatch.setenv("QDRANT_URL", secret)
    main(["doctor"])
    assert main(["compare", "movies", "--systems", "dense", *files]) == 0
    text = written(out, capsys)
    assert "s3cret" not in text and "Qdrant server 1.20.0 at http://…@127.0.0.1" in text


@pytest.mark.slow
def test_ingest_shows_no_password(stub, secret, tmp_path, capsys):
    command = ["ingest", "movies", "--where", secret, "--vectors", "dense"]
    for more in ([], ["--recreate"]):
        assert main([*command, *more]) == 0
    text = written(tmp_path / "none", capsys)
    assert "s3cret" not in text and text.count("http://…@127.0.0.1") >= 3  # "deleting … at" too


@pytest.mark.slow
def test_errors_show_no_password(stub, secret, tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    told = []

    def refused(where):
        with pytest.raises(RagkitError) as caught:
            open_index(where, {"dense": VectorSpec(2)}).close()
        told.append(str(caught.value))

    refused("http://reader:s3cret@127.0.0.1:9")
    refused("http://reader:s3cret@[host")
    refused("reader:s3cret@localhost:6333")
    stub.fail("GET", "/exists", Answer(403))
    refused(secret)
    stub.version = "1.17.0"
    with open_index(secret, {"dense": VectorSpec(2)}) as index:
        told += [repr(index), index.engine, index.url, index.place]
    stub.version = None
    refused(secret)
    for address in ("reader:s3cret@host/path", "reader:s3cret@localhost:6333", "grpc://reader:s3cret@host"):
        monkeypatch.setenv("QDRANT_URL", address)
        refused(None)
    monkeypatch.setenv("RAGKIT_MIRROR", "http://reader:s3cret@127.0.0.1:9/kit")
    with pytest.raises(RagkitError) as caught:
        load_beir("cranfield")
    told += [str(caught.value), *(str(warning.message) for warning in recwarn)]
    assert any("Update the older one" in text for text in told) and any("RAGKIT_MIRROR" in text for text in told)
    assert not [text for text in told if "s3cret" in text or "reader" in text]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", " {}/\n", "HTTP://{}", "{}, http://127.0.0.1:9", "http://127.0.0.1:9,{}"])
def test_a_client_takes_whatever_qdrant_url_may_hold(form, stub, monkeypatch, recwarn):
    stub.api_key = "key"
    monkeypatch.setenv("QDRANT_API_KEY", "key ")
    monkeypatch.setenv("QDRANT_URL", form.format(stub.url.removeprefix("http://") if "//{" in form else stub.url))
    client = open_client()
    client.create_collection("films", models.VectorParams(size=2, distance=models.Distance.COSINE))
    client.upload_points("films", [models.PointStruct(id=1, vector=[0.6, 0.8])], wait=True)
    assert client.query_points("films", [0.6, 0.8]).points[0].score == pytest.approx(1)
    assert stub.collections.keys() == {"films"} and not recwarn.list


@pytest.mark.parametrize("text", [None, "", " ", ":memory:", ":MEMORY:", ":temporary:", "folder"])
def test_without_a_server_a_client_is_in_memory(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QDRANT_URL", raising=False)
    if text is not None:
        monkeypatch.setenv("QDRANT_URL", text)
    client = open_client()
    client.create_collection("films", models.VectorParams(size=2, distance=models.Distance.COSINE))
    assert client.count("films").count == 0 and not open_client().collection_exists("films")
    assert not list(tmp_path.iterdir())


def test_a_client_of_a_server_that_does_not_answer_is_refused(monkeypatch):
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:9")
    with pytest.raises(RagkitError, match="No Qdrant server answers at http://127.0.0.1:9 "):
        open_client()
