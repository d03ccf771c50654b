"""What every kind of connection tells its owner."""

from __future__ import annotations

from typing import Protocol

from jobd.client.core import Item, Request
from jobd.errors import JobdError


class Owner(Protocol):
    """The one for whom a connection is kept."""

    def deliver(self, items: list[Item]) -> None:
        """These came, in this order."""

    def refused(self, request: Request, error: JobdError) -> None:
        """No reply to this request will ever come."""

    def ended(self, error: JobdError) -> None:
        """Nothing more will come."""
