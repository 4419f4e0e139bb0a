"""nnopt: train every alternative over paired seeds, and say what is better, by how much and how sure.

    from nnopt import load, train, compare

Nothing heavy is imported until one of the three is used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nnopt.version import __version__

if TYPE_CHECKING:
    from nnopt.api import compare, load, sweep, train

__all__ = ["__version__", "compare", "load", "sweep", "train"]

# `train` and `compare` are functions for users and folders for readers. Python binds a folder's name to its module
# as soon as anything in it is imported, so these modules can be called as the functions.
_BOTH = ("train", "compare")


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from nnopt import api

        return getattr(api, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BOTH and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _BOTH:
        return importlib.import_module(f"nnopt.{name}")
    if name in ("load", "sweep"):
        from nnopt import api

        return getattr(api, name)
    raise AttributeError(f"module 'nnopt' has no attribute '{name}'")
