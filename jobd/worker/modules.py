"""
Finding the callable of a job, in a process that stays.

The modules of a job's folder (those found there, not those of an environment
that happens to lie below it) belong to that folder: when a job of another one
comes they are set aside, so that an equally named module is not confused with
them, and put back when the folder comes again. When a file of the folder has
changed since it was imported, all modules of the folder are imported anew.
Every other module stays imported for as long as the worker lives.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

from jobd.worker import startup

_FRESH = 1.0
"""Seconds for which a folder's files are taken as unchanged."""

_FOLDERS = 16
"""How many folders' modules are kept."""


class CannotFind(Exception):
    """There is no such callable; the message says what is missing."""


class Stamp(NamedTuple):
    """What tells two versions of a file apart."""

    modified: int
    size: int


class Loaded(NamedTuple):
    """A module of a folder and the version of its file."""

    module: ModuleType
    path: str | None
    stamp: Stamp | None


def _stamp(path: str | None) -> Stamp | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size)


class Modules:
    """
    The callables a worker has found so far. Not thread-safe.

    @ivar folder: where modules are looked for first.
    """

    def __init__(self) -> None:
        self.folder = ""
        self._callables: dict[str, Callable[..., Any]] = {}
        self._own: dict[str, Loaded] = {}
        self._aside: dict[str, dict[str, Loaded]] = {}
        self._count = 0
        self._checked = time.monotonic()
        self._prepare_path()
        self._base = frozenset(sys.modules)

    @staticmethod
    def _prepare_path() -> None:
        """The folder the daemon was started in is not one of a job: take it off the path, but keep jobd itself."""
        if sys.path and sys.path[0] in ("", os.getcwd()):
            del sys.path[0]
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        if home not in sys.path:
            sys.path.append(home)

    def enter(self, folder: str, now: float) -> None:
        """
        Look for modules in C{folder} first, from now on.

        @param now: the monotonic time.
        """
        if folder == self.folder:
            if now - self._checked >= _FRESH:
                self._checked = now
                self._refresh()
            return
        self._note()
        for name in self._own:
            sys.modules.pop(name, None)
        self._aside[self.folder] = self._own
        if len(self._aside) > _FOLDERS:
            del self._aside[next(iter(self._aside))]
        with suppress(ValueError):
            sys.path.remove(self.folder)
        sys.path.insert(0, folder)
        self._own = self._aside.pop(folder, {})
        sys.modules.update({name: loaded.module for name, loaded in self._own.items()})
        self.folder = folder
        self._callables.clear()
        self._count = len(sys.modules)
        self._checked = now
        self._refresh()

    def find(self, name: str) -> Callable[..., Any]:
        """
        The callable C{module:name} or C{module:Class.method}. Raises
        L{CannotFind}, or what the module raised when it was imported.
        """
        try:
            return self._callables[name]
        except KeyError:
            function = self._callables[name] = self._look_up(name)
            return function

    def _look_up(self, name: str) -> Callable[..., Any]:
        module_name, colon, path = name.partition(":")
        if not (colon and module_name and path):
            raise CannotFind(f"{name!r} is not of the form 'module:name' or 'module:Class.method'")
        found: Any = self._import(module_name)
        for part in path.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                where = f"module {module_name!r}" if isinstance(found, ModuleType) else repr(found)
                raise CannotFind(f"{where} has no {part!r}") from None
        if not callable(found):
            raise CannotFind(f"{name!r} is not callable, it is of type {type(found).__name__!r}")
        function: Callable[..., Any] = found
        return function

    def _import(self, name: str) -> ModuleType:
        if name not in sys.modules:
            importlib.invalidate_caches()
        try:
            # Unlike importlib.import_module this leaves no frames of its own in a traceback.
            __import__(name)
        except ModuleNotFoundError as missing:
            if missing.name is not None and f"{name}.".startswith(f"{missing.name}."):
                text = f"there is no module {missing.name!r}, neither in {self.folder} nor installed"
                raise CannotFind(text) from None
            raise
        finally:
            self._note()
        return sys.modules[name]

    def _note(self) -> None:
        """Take note of the folder's modules that were imported since the last time."""
        if len(sys.modules) == self._count:
            return
        tops: dict[str, bool] = {}
        for name, module in list(sys.modules.items()):
            if name in self._base or name in self._own or not isinstance(module, ModuleType):
                continue
            top = name.partition(".")[0]
            if top not in tops:
                tops[top] = self._is_own(top)
            if tops[top]:
                path = getattr(module, "__file__", None)
                self._own[name] = Loaded(module, path, _stamp(path))
        self._count = len(sys.modules)

    def _is_own(self, top: str) -> bool:
        """Whether this top-level module was found in the folder itself."""
        spec = getattr(sys.modules.get(top), "__spec__", None)
        if top == "jobd" or spec is None:
            return False
        places = spec.submodule_search_locations or [spec.origin or ""]
        return any(os.path.dirname(place) == self.folder for place in places)

    def _refresh(self) -> None:
        self._note()
        changed = [loaded.path for loaded in self._own.values() if _stamp(loaded.path) != loaded.stamp]
        if not changed:
            return
        for path in changed:
            # A compiled file is told from a stale one by whole seconds and the
            # size only: one that was made in the second of the edit would win.
            with suppress(OSError, NotImplementedError, TypeError):
                os.unlink(importlib.util.cache_from_source(path or ""))
        for name in self._own:
            sys.modules.pop(name, None)
        self._own.clear()
        self._callables.clear()
        self._count = 0
        importlib.invalidate_caches()


class Folders:
    """Where a worker's calls run and look for modules; the process changes into it."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._home = startup.home()
        self._real = ""

    def enter(self, cwd: str | None, now: float) -> None:
        """Change into C{cwd}, C{None} for the home folder. Raises L{OSError}."""
        folder = self._home if cwd is None else cwd
        # The call before may have gone elsewhere, or the folder may have been removed.
        try:
            there = folder == self._modules.folder and os.getcwd() == self._real
        except OSError:
            there = False
        if not there:
            os.chdir(folder)
            self._real = os.getcwd()
        self._modules.enter(folder, now)
