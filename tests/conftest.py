"""Shared by all tests: skips are counted with reasons; figures are reported, never gated."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped for each reason, and the figures that tests recorded."""
    skips: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        place = report.longrepr
        reason = place[2] if isinstance(place, tuple) else str(place)
        skips[reason.removeprefix("Skipped: ")] += 1
    if skips:
        terminalreporter.section(f"skipped: {sum(skips.values())}")
        for reason, count in skips.most_common():
            terminalreporter.line(f"{count:5d}  {reason}")

    table = [
        report
        for report in terminalreporter.stats.get("passed", [])
        if report.nodeid.startswith("tests/parity/test_parity.py::test_agrees")
    ]
    if len(table) > 100:
        spent: Counter[str] = Counter()
        for report in table:
            spent[report.nodeid.partition("[")[2].partition("-")[0]] += report.duration
        slowest = ", ".join(f"{name} {seconds:.0f}" for name, seconds in spent.most_common(5))
        terminalreporter.section("the parity table")
        terminalreporter.line(
            f"{len(table)} rows × columns in {sum(spent.values()):.0f} s of all workers; "
            f"the types that took longest: {slowest}"
        )

    figures = [
        f"{name.removeprefix('figure ')}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name.startswith("figure ")
    ]
    if figures:
        terminalreporter.section("figures (reported, never gated)")
        for figure in figures:
            terminalreporter.line(figure)
