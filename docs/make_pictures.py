"""Draw the docs' pictures of ideas, which need no measurement: `python docs/make_pictures.py`."""

from pathlib import Path

import matplotlib

from ragkit.display import ideas
from ragkit.files import whole

IMAGES = Path(__file__).resolve().parent / "img"


def main() -> None:
    """Write docs/img/three-ways.png and three-shards.png."""
    matplotlib.use("Agg")
    dense, _, _ = ideas.three_ways()
    with whole(IMAGES / "three-ways.png") as stage:
        dense.figure.savefig(stage, dpi=110)
    one, _ = ideas.three_shards()
    with whole(IMAGES / "three-shards.png") as stage:
        one.figure.savefig(stage, dpi=110)


if __name__ == "__main__":
    main()
