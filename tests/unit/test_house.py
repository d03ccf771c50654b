"""Claims of the house: who may import whom, and which floors know no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import TestCase

import jobd

ROOT = Path(jobd.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("job",),
    ("wire",),
    ("spec", "selector", "after", "options"),
    ("ended", "far", "ready", "subscriptions", "snapshot", "deadlines", "groups", "places", "events", "actions"),
    ("scheduler",),
    ("why",),
    ("store",),
    ("worker", "alarm", "prompt", "access", "listener"),
    ("pool", "outputs", "pages", "recall", "retention", "fetching"),
    ("daemon",),
    ("feed", "follow"),
    ("session", "server", "verbs"),
    ("paths", "lock", "settings", "listening", "service"),
    ("testing",),
)
"""The floors of the daemon, the lowest first. A module may import from its own floor and those below."""

PURE = tuple(name for floor in FLOORS[:7] for name in floor)
"""These do no I/O and tell no time."""

HARMLESS = {
    "__future__",
    "array",
    "attrs",
    "bisect",
    "collections",
    "difflib",
    "enum",
    "hashlib",
    "heapq",
    "json",
    "msgspec",
    "re",
    "shlex",
    "typing",
}
"""What the pure modules may use from outside."""

WORLD = (
    "asyncio",
    "multiprocessing",
    "os.path",
    "selectors",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "twisted",
)


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name without C{jobd.}."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found[""]
    return found


MODULES = modules()


class RunningOnly(ast.NodeTransformer):
    """Takes away what only the type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def imports(path: Path, running: bool = False) -> set[str]:
    """
    All that a module imports, anywhere in it, as dotted names.

    @param running: leave out what is imported for types only.
    """
    tree: ast.AST = ast.parse(path.read_text("utf-8"))
    if running:
        tree = RunningOnly().visit(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path, running: bool = False) -> set[str]:
    """The modules of this package that a module imports, without C{jobd.}."""
    found = set()
    for name in imports(path, running):
        if name.startswith("jobd."):
            short = name.removeprefix("jobd.")
            found.add(short if short in MODULES else short.rpartition(".")[0])
    return found - {""}


def floor_of(name: str) -> int:
    head = name.partition(".")[0]
    return next(height for height, floor in enumerate(FLOORS) if head in floor)


class FloorTests(TestCase):
    """Imports point down."""

    def test_floors(self) -> None:
        """Every module stands on a floor, but the clients, which are another house."""
        heads = {name.partition(".")[0] for name in MODULES}
        self.assertEqual(heads, {name for floor in FLOORS for name in floor} | {"client", "cli"})

    def test_down(self) -> None:
        """No module imports from a floor above its own."""
        for name, path in MODULES.items():
            if not name.startswith(("client", "cli")):
                for other in own(path):
                    self.assertLessEqual(floor_of(other), floor_of(name), f"{name} imports {other}")

    def test_no_circle(self) -> None:
        """On one floor too there are no circles, among what is imported to run."""
        graph = {name: (own(path, running=True) & set(MODULES)) - {name} for name, path in MODULES.items()}
        self.assertEqual(set(MODULES), set(TopologicalSorter(graph).static_order()))

    def test_worker_alone(self) -> None:
        """What runs inside a worker imports nothing of the daemon."""
        for name, path in MODULES.items():
            if name.startswith("worker"):
                self.assertEqual(set(), {other for other in own(path) if not other.startswith("worker")}, name)

    def test_clients_apart(self) -> None:
        """Clients share with the daemon only its ground floors: the errors, the wire, the words and the paths."""
        shared = {"errors", "wire", "job", "paths"}
        for name, path in MODULES.items():
            if name.startswith(("client", "cli")):
                others = {other for other in own(path) if not other.startswith(("client", "cli"))}
                self.assertLessEqual(others, shared, name)


class PureTests(TestCase):
    """The lower floors know no world."""

    def test_imports(self) -> None:
        """They import each other, and of everything else only what does no I/O."""
        for name in PURE:
            others = {other.partition(".")[0] for other in imports(MODULES[name])} - {"jobd"}
            self.assertLessEqual(others, HARMLESS, name)

    def test_loaded(self) -> None:
        """Nor does anything come in with them: in a new interpreter that has imported them all."""
        self.assertEqual("", self.loaded([f"jobd.{name}" for name in PURE], WORLD))

    def test_workers(self) -> None:
        """No Twisted, and none of its kin, comes in with a worker."""
        foreign = ("worker.posix", "worker.family", "worker.descent") if sys.platform == "win32" else ()
        names = [f"jobd.{name}" for name in MODULES if name.startswith("worker") and name not in foreign]
        self.assertEqual("", self.loaded(names, ("twisted", "zope", "jobd.daemon", "jobd.scheduler", "jobd.store")))

    def loaded(self, names: list[str], unwanted: tuple[str, ...]) -> str:
        """Which of the unwanted modules are there after an import of these."""
        program = (
            # What these import themselves differs between versions of Python.
            "import attrs, importlib, msgspec, sys\n"
            f"before = set(sys.modules)\nfor name in {names!r}: importlib.import_module(name)\n"
            f"print(*[name for name in {unwanted!r} if name in set(sys.modules) - before])"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT.parent)
        self.assertEqual("", done.stderr)
        return done.stdout.strip()
