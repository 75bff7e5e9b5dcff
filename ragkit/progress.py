"""Progress bars, for anything that takes over two seconds."""

import os

from tqdm.auto import tqdm


def progress(total: int, title: str, unit: str) -> tqdm:
    """Return a bar that appears after two seconds and leaves nothing behind; `TQDM_DISABLE=1` hides it.

    In a notebook tqdm shows a widget, which does not read that variable by itself.
    """
    hidden = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    return tqdm(total=total, desc=title, unit=unit, delay=2, mininterval=0.5, leave=False, disable=hidden)
