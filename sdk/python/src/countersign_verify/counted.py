"""The agents' own numbers of their decisions and answers, under each grant: a hole is a statement that was withheld or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Count = tuple[str, str]


@dataclass
class _Row:
    seen: dict[int, int] = field(default_factory=dict)
    total: tuple[int, int] | None = None


class Counted:
    """All counts, by grant and kind of statement."""

    def __init__(self) -> None:
        self._rows: dict[Count, _Row] = {}

    def stated(self, count: Count, n: int | None, seq: int) -> None:
        """A statement with its number. The same number again is the same statement sent again."""
        if n is not None:
            self._rows.setdefault(count, _Row()).seen.setdefault(n, seq)

    def total(self, count: Count, total: int | None, seq: int) -> None:
        """The agent says how many there were; the highest counts."""
        if total is not None:
            row = self._rows.setdefault(count, _Row())
            if row.total is None or total > row.total[0]:
                row.total = (total, seq)

    def holes(self) -> Iterator[tuple[int, str]]:
        """For each count that has a hole the entry that shows it, and what is missing."""
        for (grant, kind), row in self._rows.items():
            missing = 0
            while missing in row.seen:
                missing += 1
            later = [n for n in row.seen if n > missing]
            if later:
                seq, why = row.seen[min(later)], f"number {min(later)} is there"
            elif row.total is not None and row.total[0] > missing:
                seq, why = row.total[1], f"the agent says that it made {row.total[0]}"
            else:
                continue
            yield seq, f"the {kind} number {missing} under the grant `{grant}` is missing, though {why}: a statement was withheld or deleted"
