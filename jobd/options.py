"""What may stand in the JSON of a verb's argument. No I/O."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jobd import wire
from jobd.selector import Filter

MOST_SHOWN = 1000
"""Jobs in one reply of C{list} or C{show}."""

LARGEST = 2**62
"""No id and no offset is larger: stores and files take numbers of 64 bits."""


class WatchOptions(msgspec.Struct, forbid_unknown_fields=True):
    since: Annotated[int, Meta(ge=0)] | None = None
    progress: bool = False


class ListOptions(Filter, forbid_unknown_fields=True, frozen=True, kw_only=True):
    start: Annotated[int, Meta(ge=0, le=LARGEST)] = msgspec.field(default=0, name="from")
    limit: Annotated[int, Meta(ge=1, le=MOST_SHOWN)] = 100
    newest: bool = False


class OutputOptions(msgspec.Struct, forbid_unknown_fields=True):
    stream: str = "stdout"
    start: Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] = msgspec.field(default=0, name="from")
    limit: Annotated[int, Meta(ge=1, le=wire.MAX_RESULT)] = 64 * 1024
    attempt: Annotated[int, Meta(ge=1)] | None = None


class FollowOptions(msgspec.Struct, forbid_unknown_fields=True):
    stream: str = "both"
    start: Annotated[int, Meta(ge=0, le=LARGEST)] = msgspec.field(default=0, name="from")


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    done: float | UnsetType = UNSET
    total: float | UnsetType = UNSET
    text: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET


class QueueOptions(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=0, le=1000000)] | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET


class DrainOptions(msgspec.Struct, forbid_unknown_fields=True):
    keep_running: bool = False


def take_options(kind: type[Any], text: bytes) -> Any:
    """
    The options, or their defaults where there are none.

    @raise BadJson, BadField, BadValue: they are not as C{kind} says.
    """
    if not text.strip():
        return kind()
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    return wire.decode(msgspec.json.Decoder(kind), text, known)
