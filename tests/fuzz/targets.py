"""All that there is to be fuzzed."""

from __future__ import annotations

from tests.fuzz import clients, files, links, requests
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    value.name: value
    for module in (requests, clients, links, files)
    for value in vars(module).values()
    if isinstance(value, Target)
}
"""By their names."""
