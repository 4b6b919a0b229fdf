"""curate: billions of (image URL, caption) pairs into a training set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from curate.look.dataset import Dataset


def open(root: str) -> Dataset:
    """A finished or running store, to look at: tables as polars lazy frames, the funnel, images by uid.

    Raises:
        CurateError: when nothing was read into `root` yet.
    """
    from curate.look.dataset import Dataset

    return Dataset(root)


def __getattr__(name: str) -> Any:
    if name == "CurateError":
        from curate.errors import CurateError

        return CurateError
    raise AttributeError(f"module 'curate' has no attribute '{name}'")
