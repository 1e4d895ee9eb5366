"""How many records a protocol carried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Records sent, acknowledged by the gateway, and found in the stores by SQL."""

    sent: int = 0
    accepted: int = 0
    found: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.sent + other.sent, self.accepted + other.accepted, self.found + other.found)
