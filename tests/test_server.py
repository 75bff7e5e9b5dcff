"""What needs a Qdrant server: `QDRANT_URL=… pytest -m server`. Skipped unless asked for."""

import os

import pandas as pd
import pytest

import ragkit


@pytest.mark.server
def test_a_server_gives_the_same_comparison_as_local_mode(movies):
    url = os.environ["QDRANT_URL"]
    local, server = (ragkit.compare(movies, depth=5, where=where) for where in (":memory:", url))
    for a, b in zip(local.systems, server.systems, strict=True):
        pd.testing.assert_frame_equal(a.values, b.values)
