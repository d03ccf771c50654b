"""What stands in lines."""

from __future__ import annotations

from typing import Any


def ids_of(text: bytes) -> list[int]:
    """IDS, as C{5,18-19}."""
    ends = [part.split(b"-") for part in text.split(b",")]
    return [number for first, *last in ends for number in range(int(first), int(last[0] if last else first) + 1)]


def after_of(spec: dict[str, Any], earlier: list[int]) -> dict[int, str]:
    """The jobs a submitted job waits for, by their ids; C{earlier}: of those before it in its list."""
    after = spec.get("after", [])
    policies = after if isinstance(after, dict) else dict.fromkeys(after, "ok")
    return {(number if (number := int(name)) > 0 else earlier[number]): policy for name, policy in policies.items()}


def without(spec: dict[str, Any], *names: str) -> dict[str, Any]:
    """A submitted job without these fields."""
    return {name: value for name, value in spec.items() if name not in names}


def split_reply(line: bytes) -> tuple[bytes, bytes, bytes]:
    """A reply's tag, C{ok} or C{error}, and the rest."""
    tag = b""
    if line.startswith(b"#"):
        tag, _, line = line.partition(b" ")
    word, _, rest = line.partition(b" ")
    return tag, word, rest
