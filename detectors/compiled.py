"""Decorators of loops that numba compiles. Compiled code is kept on disk, so a process compiles nothing twice."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call, strictly by IEEE 754: every row gives the same bits wherever it stands."""
    return cast(Function, njit(cache=True, nogil=True)(function))


def compiled_exact(function: Function) -> Function:
    """The same for sums of whole numbers that are exact in any order, so that the compiler may choose it."""
    return cast(Function, njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function))
