"""What a scenario found: faults in words, and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Verdict:
    """The outcome of one scenario: passed when `faults` is empty."""

    name: str
    faults: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    """By a name that ends in its unit, such as `in_control_p95_s`."""

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.faults

    def expect(self, holds: object, fault: str) -> None:
        """Note a fault unless `holds` is true."""
        if not holds:
            self.faults.append(fault)

    def text(self, most: int = 20) -> str:
        """Figures and faults, for a person."""
        shown = [f"{name} {value:.4g}" for name, value in self.figures.items()]
        outcome = "passed" if self.passed else f"{len(self.faults)} faults"
        lines = [f"{self.name}: {outcome}; " + ", ".join(shown)]
        lines += [f"  - {fault}" for fault in self.faults[:most]]
        if len(self.faults) > most:
            lines.append(f"  and {len(self.faults) - most} more")
        return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0.0-1.0) of the values do not exceed; NaN for none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
