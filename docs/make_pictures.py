"""Draw the docs' pictures of ideas, which need no measurement: `python docs/make_pictures.py`."""

from pathlib import Path

import matplotlib

from ragkit.display import ideas

IMAGES = Path(__file__).resolve().parent / "img"


def main() -> None:
    """Write docs/img/three-ways.png and three-shards.png."""
    matplotlib.use("Agg")
    dense, _, _ = ideas.three_ways()
    dense.figure.savefig(IMAGES / "three-ways.png", dpi=110)
    one, _ = ideas.three_shards()
    one.figure.savefig(IMAGES / "three-shards.png", dpi=110)


if __name__ == "__main__":
    main()
