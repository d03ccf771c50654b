"""The pipeline's Python steps: plain functions that know nothing of jobd."""

import json
import tokenize
from pathlib import Path
from typing import Any


def count(source: str, target: str) -> int:
    """Count the tokens of a Python file, write the number to C{target}."""
    with tokenize.open(source) as file:
        number = sum(1 for _ in tokenize.generate_tokens(file.readline))
    Path(target).write_text(str(number))
    return number


def merge(results: str, names: list[str], target: str) -> dict[str, int]:
    """Gather what the other jobs have written into one file; return its totals."""
    folder = Path(results)
    merged: dict[str, dict[str, Any]] = {
        name: {
            "sha256": (folder / f"{name}.sha256").read_text().split()[0],
            "compressed": (folder / f"{name}.gz").stat().st_size,
            "tokens": int((folder / f"{name}.tokens").read_text()),
        }
        for name in names
    }
    Path(target).write_text(json.dumps(merged))
    return {
        "modules": len(merged),
        "compressed": sum(entry["compressed"] for entry in merged.values()),
        "tokens": sum(entry["tokens"] for entry in merged.values()),
    }
