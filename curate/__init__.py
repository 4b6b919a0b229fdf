"""curate: billions of (image URL, caption) pairs into a training set."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from inspect import Signature

    from curate.api import (
        check,
        compare_subset,
        filter,
        get,
        probe,
        remove,
        report,
        reshard,
        retry,
        run,
        score,
        sweep,
        tail,
        upgrade,
        verify,
        write,
    )
    from curate.errors import CurateError
    from curate.look.dataset import Dataset

__all__ = [
    "CurateError", "check", "compare_subset", "filter", "get", "open", "probe", "remove", "report", "reshard",
    "retrieve", "retry", "run", "score", "sweep", "tail", "upgrade", "verify", "write",
]  # fmt: skip


class Verb(ModuleType):
    """A verb's module, which can be called: `curate.score` holds the ops, and `curate.score("store", "score.words")`
    is `curate.api.score`. Python puts a module in the place of a function of its name as soon as it is imported: only
    a module that is both stays the same whatever was imported first."""

    def _function(self) -> Callable[..., Any]:
        from curate import api

        function: Callable[..., Any] = getattr(api, self.__name__.removeprefix("curate."))
        return function

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function()(*args, **options)

    @property
    def __signature__(self) -> Signature:
        """What a notebook shows of its arguments."""
        from inspect import signature

        return signature(self._function())

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        # Workers import it.
        return importlib.import_module, (self.__name__,)


for _verb in ("filter", "remove", "reshard", "score", "write"):
    importlib.import_module(f"curate.{_verb}").__class__ = Verb


def open(root: str) -> Dataset:
    """A finished or running store, to look at: tables as polars lazy frames, the funnel, images by uid.

    Raises:
        CurateError: when nothing was read into `root` yet.
    """
    from curate.look.dataset import Dataset

    return Dataset(root)


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: `import curate` takes a few milliseconds."""
    if name == "run":
        return importlib.import_module("curate.run")
    if name == "CurateError":
        from curate.errors import CurateError

        return CurateError
    if name in __all__:
        return getattr(importlib.import_module("curate.api"), name)
    raise AttributeError(f"module 'curate' has no attribute '{name}'")
