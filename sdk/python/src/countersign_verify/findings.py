"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass, field


class Malformed(Exception):
    """Bytes from outside are not in the form that docs/format.md gives them."""


@dataclass(frozen=True)
class Finding:
    """One finding: a code of docs/verify.md, the entry it is about (if any), and what it is in words."""

    code: str
    seq: int | None
    what: str

    def as_json(self) -> dict:
        members: dict = {"code": self.code}
        if self.seq is not None:
            members["seq"] = self.seq
        return members | {"what": self.what}


@dataclass
class Counts:
    """How much was looked at."""

    entries: int = 0
    checkpoints: int = 0
    commitments: int = 0
    erased: int = 0
    statements: int = 0
    calls: int = 0
    open_calls: int = 0


@dataclass
class Report:
    """Everything found in one bundle."""

    origin: str = ""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    outside: bool = False

    def add(self, code: str, seq: int | None, what: str) -> None:
        self.findings.append(Finding(code, seq, what))

    def settle(self) -> None:
        """The first bad entry first, each code once for an entry; what is about no single entry comes last, but that the wrong key signed first of all: it explains the others."""
        told: dict[tuple[int | None, str], Finding] = {}
        for finding in self.findings:
            told.setdefault((finding.seq, finding.code), finding)
        self.findings = list(told.values())
        self.findings.sort(key=lambda finding: (finding.code != "key-not-trusted", finding.seq is None, finding.seq or 0))

    @property
    def clean(self) -> bool:
        return not self.findings

    def as_json(self) -> dict:
        return {
            "origin": self.origin,
            "findings": [finding.as_json() for finding in self.findings],
            "notes": self.notes,
            "counts": vars(self.counts),
            "outside": self.outside,
        }
