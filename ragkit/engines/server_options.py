"""What a Qdrant server is asked for beside the vectors: shards, replicas, how long to wait."""

import os
from dataclasses import dataclass

from ragkit.boundary import whole_number
from ragkit.errors import RagkitError, given

# A server answers 400 to a larger request, unless its max_request_size_mb was changed.
MAX_REQUEST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class ServerOptions:
    """How a collection is made on a Qdrant server or cluster, and how long its answers may take.

    shards, replicas, write_consistency: numbers of the collection; None leaves them to the server, or to the
    collection that is there. timeout: seconds for one answer. request_bytes: an upload is cut into requests of
    at most so many bytes; lower it if a proxy before the server takes less. index_timeout: seconds for making
    small copies and graphs once all is stored. recreate: delete a collection of the same name first.

    >>> ServerOptions(shards=6, replicas=2).request_bytes < MAX_REQUEST_BYTES
    True
    """

    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None
    timeout: int = 60
    request_bytes: int = 12 * 2**20
    index_timeout: int = 3600
    recreate: bool = False

    def __post_init__(self):
        for name in ("shards", "replicas", "write_consistency", "timeout", "request_bytes", "index_timeout"):
            value = getattr(self, name)
            if value is not None:
                whole_number(f"ServerOptions: {name}", value, 1, 2**31 - 1)
        if self.request_bytes > MAX_REQUEST_BYTES:
            raise RagkitError(
                f"ServerOptions: request_bytes is {self.request_bytes:,}; a Qdrant server takes at most "
                f"{MAX_REQUEST_BYTES:,} a request."
            )

    @classmethod
    def from_environment(cls) -> "ServerOptions":
        """Return the defaults, with shards and replicas as QDRANT_SHARDS and QDRANT_REPLICAS say."""
        return cls(shards=_number("QDRANT_SHARDS"), replicas=_number("QDRANT_REPLICAS"))


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise RagkitError(f"{variable} is {given(text)}; expected a whole number from 1, or unset it.")
    return int(text)
