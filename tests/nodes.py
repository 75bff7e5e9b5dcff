"""Nodes of a real Qdrant, started from a program that RAGKIT_QDRANT names, each at ports of loopback of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Self

import numpy as np

from ragkit import ServerOptions, build_index, load_encoders, load_movies
from tests.windows import windows

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["dense", "colbert", "bm25"]
COUNT = 2000
# Small, so that an upload is many requests.
OPTIONS = {"request_bytes": 200_000}


class Nodes:
    """Use as a context manager: one node, or several that make a cluster; `url` is the first's address.

    settings: environment variables of Qdrant (QDRANT__SERVICE__API_KEY …). A node that is killed keeps its folder.
    """

    def __init__(self, folder: Path, count: int = 1, **settings: str):
        self.folder, self.count, self.settings = folder, count, settings
        self._ports = [free_ports() for _ in range(count)]
        self._processes: dict[int, subprocess.Popen] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{http}" for http, _, _ in self._ports]

    @property
    def url(self) -> str:
        return self.urls[0]

    def __enter__(self) -> Self:
        try:
            for i in range(self.count):
                self.start(i)
            self._wait_for_peers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for i in list(self._processes):
            self.kill(i)

    def start(self, i: int = 0) -> None:
        """Start a node, and return when it is ready."""
        http, grpc, peers = self._ports[i]
        folder = self.folder / f"node-{i}"
        folder.mkdir(parents=True, exist_ok=True)
        command, environment = (
            [os.environ["RAGKIT_QDRANT"]],
            {
                "QDRANT__SERVICE__HOST": "127.0.0.1",
                "QDRANT__SERVICE__HTTP_PORT": str(http),
                "QDRANT__SERVICE__GRPC_PORT": str(grpc),
                "QDRANT__TELEMETRY_DISABLED": "true",
            },
        )
        if self.count > 1:
            environment |= {"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": str(peers)}
            command += ["--uri", f"http://127.0.0.1:{peers}"]
            command += ["--bootstrap", f"http://127.0.0.1:{self._ports[0][2]}"] if i else []
        with (folder / "log").open("ab") as log:
            self._processes[i] = subprocess.Popen(
                command, cwd=folder, env=os.environ | environment | self.settings, stdout=log, stderr=log
            )
        self._wait(lambda: _get(f"{self.urls[i]}/readyz") is not None, f"node {i}")

    def kill(self, i: int = 0) -> None:
        """Kill a node with SIGKILL, if it runs."""
        process = self._processes.pop(i, None)
        if process:
            process.kill()
            process.wait()

    def _wait_for_peers(self) -> None:
        def joined() -> bool:
            answers = [_get(f"{url}/cluster", self.settings.get("QDRANT__SERVICE__API_KEY")) for url in self.urls]
            return all(answer and len(json.loads(answer)["result"]["peers"]) == self.count for answer in answers)

        if self.count > 1:
            self._wait(joined, "the cluster")

    def _wait(self, ready, what: str) -> None:
        ends = time.monotonic() + 60
        while not ready():
            if time.monotonic() > ends:
                raise AssertionError(f"{what} is not ready after 60 s; see the logs in {self.folder}")
            time.sleep(0.05)


class Upload:
    """An ingest of COUNT short texts by a process of its own, which can be killed."""

    def __init__(self, url: str):
        code = f"from tests.nodes import upload; upload({url!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"TQDM_DISABLE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while (line := self.process.stdout.readline()) and line != "begins\n":
            pass  # encoding, which the cache has after the first time

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def ended(self) -> str:
        """Wait for its end, and return what it said; the empty string if all went well."""
        said, _ = self.process.communicate(timeout=400)
        return "" if self.process.returncode == 0 else said or f"status {self.process.returncode}"


def dataset():
    """Return COUNT short texts and the films' queries."""
    return windows(load_movies(), COUNT)


def indexed(url: str):
    """Return the index of the texts on a server, made or continued."""
    chosen = ServerOptions.from_environment()
    options = ServerOptions(shards=chosen.shards, replicas=chosen.replicas, **OPTIONS)
    return build_index(dataset(), load_encoders(NAMES), url, options)[0]


def upload(url: str) -> None:
    """What the process of an Upload does."""
    for encoder in load_encoders(NAMES[:2]).values():
        encoder.prepare(dataset().passages)
    print("begins", flush=True)
    with indexed(url):
        pass


def assert_alike(answers, expected):
    """The same scores in the same places, and the same documents but for ties at the cut.

    Many short texts have the same words, so that the candidates of bm25 are cut among ties: no rerank of theirs counts.
    """
    tied = [place for place, first in enumerate(NAMES) if first == "bm25"]
    for i, (hits, others) in enumerate(zip(answers, expected, strict=True)):
        stage, rerank = divmod(i % len(NAMES) ** 2, len(NAMES))
        if not others or (rerank and stage in tied):
            assert bool(hits) == bool(others)
            continue
        np.testing.assert_allclose([score for _, score in hits], [score for _, score in others], atol=1e-4)
        last = others[-1][1] + 1e-4
        assert {d for d, score in hits if score > last} == {d for d, score in others if score > last}


def _get(url: str, key: str | None = None) -> bytes | None:
    request = urllib.request.Request(url, headers={"api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return response.read()
    except OSError:
        return None


def free_ports() -> tuple[int, int, int]:
    """Return ports for REST, for gRPC (the next one, where ragkit looks for it) and between the nodes."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except OSError:
                continue
            return port, port + 1, port + 2
