"""The tables and the picture in docs/protocol.md say what the code says."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec import inspect as kinds
from twisted.trial.unittest import TestCase

from jobd import errors, job, wire

from .markdown import ROOT, section, table
from .picture import Picture

PROTOCOL = ROOT / "docs" / "protocol.md"

IN_PROSE = {
    "args": ("`[]`", UNSET),
    "kwargs": ("`{}`", UNSET),
    "cwd": ("the daemon user's home", None),
    "stdin": ("empty", ""),
    "stdout": ("its own file", UNSET),
    "stderr": ("its own file", UNSET),
    "cpus": ("`1`; `0` for `lane: io`", UNSET),
}
"""Defaults that the table puts in words, and what stands for them in the code."""


def rows(name: str) -> list[dict[str, str]]:
    return table(section(PROTOCOL, f"table: {name}"))


def type_in_words(field: kinds.Field) -> str:
    """The type of a field of a job, in the words of the document."""
    whole = field.type
    parts = list(whole.types) if isinstance(whole, kinds.UnionType) else [whole]
    nullable = any(isinstance(part, kinds.NoneType) for part in parts) and field.default is not None
    words = dict.fromkeys(_in_words(part) for part in parts if not isinstance(part, kinds.NoneType))
    return " or ".join([*words, *(["null"] if nullable else [])])


def _in_words(part: kinds.Type) -> str:
    if isinstance(part, kinds.StrType):
        # What else a name must be is looked at by jobd.spec: here it is told from other texts by its length.
        return "name" if part.max_length == 64 else "string"
    if isinstance(part, kinds.ListType):
        return "list of strings" if isinstance(part.item_type, kinds.StrType) else "list"
    if isinstance(part, kinds.LiteralType):
        return " or ".join(f'`"{value}"`' for value in part.values)
    simple: dict[type, str] = {
        kinds.IntType: "integer",
        kinds.FloatType: "seconds",
        kinds.BoolType: "boolean",
        kinds.DictType: "object",
        kinds.StructType: "object",
    }
    return simple[type(part)]


def default_of(field: kinds.Field) -> Any:
    """What an optional field is when it is not given."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return UNSET if field.default is msgspec.NODEFAULT else field.default


def default_in_words(name: str, default: Any) -> str:
    if name in IN_PROSE:
        words, value = IN_PROSE[name]
        return words if value is default or value == default else f"not {value!r} but {default!r}"
    if default is UNSET:
        return ""
    if default is None:
        return "none"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{json.dumps(default)}`"


class TableTests(TestCase):
    """What is written once for people and once for the machine is the same."""

    def test_errors(self) -> None:
        """The error codes, whether each is retryable, and its meaning are those of jobd.errors, in its order."""
        documented = [(row["code"].strip("`"), row["retryable"], row["meaning"]) for row in rows("errors")]
        in_code = [(code, "yes" if cls.retryable else "no", cls.__doc__) for code, cls in errors.BY_CODE.items()]
        self.assertEqual(in_code, documented)

    def test_fields(self) -> None:
        """The fields of a job, their types and their defaults are those of JobSpec."""
        documented = {row["field"].strip("`"): (row["type"], row["default"]) for row in rows("fields")}
        info = kinds.type_info(job.JobSpec)
        assert isinstance(info, kinds.StructType)
        in_code = {
            field.name: (type_in_words(field), default_in_words(field.name, default_of(field))) for field in info.fields
        }
        self.assertEqual(in_code, documented)

    def test_states(self) -> None:
        """The states, and which of them are final, are those of jobd.job."""
        documented = [(row["state"].strip("`"), row["final"]) for row in rows("states")]
        self.assertEqual([(state.word, "yes" if state in job.FINAL else "no") for state in job.State], documented)

    def test_picture(self) -> None:
        """The picture of the states has an arrow for every transition there is, and no other."""
        words = {"submit", *job.BY_WORD}
        drawn = Picture(section(PROTOCOL, "picture: states").replace("```", "   "), words).edges()
        in_code = {
            ("submit" if start is None else start.word, end.word)
            for start, ends in job.TRANSITIONS.items()
            for end in ends
        }
        self.assertEqual(in_code, drawn)

    def test_outcome(self) -> None:
        """What may stand in an outcome is what jobd.job.Outcome has."""
        documented = {row["in an outcome"].strip("`") for row in rows("outcome")}
        self.assertEqual(set(job.Outcome.__struct_fields__), documented)

    def test_verbs(self) -> None:
        """The verbs, what each takes and what it does are those that help tells."""
        text = PROTOCOL.read_text(encoding="utf-8").partition("\n## Verbs\n")[2].partition("\nIDS is")[0]
        documented = {row["verb"].strip("`"): (row["argument"], row["what it does"]) for row in table(text)}
        self.assertEqual(wire.VERBS, documented)

    def test_limits(self) -> None:
        """The limits on lines and results are those of jobd.wire."""
        text = PROTOCOL.read_text(encoding="utf-8").partition("\n### Limits\n")[2].partition("\n### ")[0]
        documented = {row["limit"]: row["value"] for row in table(text)}
        self.assertEqual(f"{wire.MAX_LINE:,} bytes with its `\\n`", documented["a request's line"])
        self.assertEqual(
            f"{wire.MAX_LINE_BEFORE_AUTH:,} bytes", documented["a line before `auth`, where one is needed"]
        )
        self.assertEqual(f"{wire.MAX_RESULT:,} bytes", documented["a call's result, as JSON or base64"])


class PictureTests(TestCase):
    """The reader of pictures sees what a person sees."""

    def test_lines_corners_and_forks(self) -> None:
        """Lines lead straight on, around corners and from a fork to each of its ends; remarks are not words."""
        drawing = """
   a ---> bb <---+
   |      |      |  remark
   |      +-> c -+
   |      |
   |      +-> d | e
   v
   f, remark
"""
        edges = {("a", "bb"), ("a", "f"), ("bb", "c"), ("bb", "d"), ("bb", "e"), ("c", "bb")}
        self.assertEqual(edges, Picture(drawing, {"a", "bb", "c", "d", "e", "f"}).edges())

    def test_a_missing_arrow_is_noticed(self) -> None:
        """A line without an arrow leads nowhere."""
        self.assertEqual(set(), Picture("a ---- b\n|\nb", {"a", "b"}).edges())
