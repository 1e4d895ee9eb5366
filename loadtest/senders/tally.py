"""What was sent against what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Hashable, Iterable


@dataclass
class Tally:
    """The account of one sender."""

    sent: int = 0
    found: int = 0
    mismatched: int = 0
    notes: dict = field(default_factory=dict)

    @classmethod
    def of(cls, sent: Iterable[Hashable], found: Iterable[Hashable], repeated: bool = False) -> "Tally":
        """Compares records one by one: each must be there once, as it was sent. `repeated` lets a sender that was killed
        bring one twice, which is noted."""
        wanted, present = Counter(sent), Counter(found)
        extra = sum((present - wanted).values())
        twice = sum(min(present[record], wanted[record] + present[record]) - wanted[record]
                    for record in wanted if present[record] > wanted[record])
        tally = cls(sum(wanted.values()), sum((present & wanted).values()), extra - twice if repeated else extra)
        if repeated:
            tally.notes["repeated"] = twice
        return tally

    def add(self, other: "Tally") -> "Tally":
        """Both together."""
        notes = {**self.notes, **other.notes}
        return Tally(self.sent + other.sent, self.found + other.found, self.mismatched + other.mismatched, notes)

    @property
    def is_good(self) -> bool:
        """Everything is there and nothing else."""
        return 0 < self.sent == self.found and self.mismatched == 0

    def document(self) -> dict:
        """For the last line."""
        return {"sent": self.sent, "found": self.found, "mismatched": self.mismatched, **self.notes}
