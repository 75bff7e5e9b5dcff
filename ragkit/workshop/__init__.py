"""For a room without a network: what is installed and in reach, and a folder that holds all it needs."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.workshop.doctor import can_run as can_run
    from ragkit.workshop.doctor import examine as examine
    from ragkit.workshop.stick import fill_stick as fill_stick

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "doctor": ["can_run", "examine"],
        "stick": ["fill_stick"],
    },
)
