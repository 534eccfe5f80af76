"""Plots as SVG that takes its colours from the page around it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from lorestream.evaluation.measures import Estimate

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 14, 34
LABELS = 210
ROW = 26


class Bar(NamedTuple):
    """A value between the ends of its interval; ``kind`` (``a``, ``b``, ``better``, ``worse``, ``same``) colours it."""

    label: str
    low: float
    value: float
    high: float
    kind: str


def curve(series: Sequence[tuple[str, Sequence[Estimate | None]]]) -> str:
    """Shares from 0 to 1 at 1, 2, …, with the bands of their intervals; ("label", estimates)."""
    points = [[one for one in estimates if one] for _, estimates in series]
    if not any(points):
        return ""
    floor = math.floor(min(one.low for line in points for one in line) * 10) / 10
    height, count = 260, max(len(line) for line in points)

    def x(place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place / max(1, count - 1))

    def y(value: float) -> float:
        return TOP + (height - TOP - BOTTOM) * (1 - (value - floor) / (1 - floor or 1))

    parts = []
    for step in range(round((1 - floor) * 10) + 1):
        value = floor + step / 10
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:.1f}", "end"))
    parts += [_text(x(place), height - BOTTOM + 18, str(place + 1), "middle") for place in range(count)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 2, "passages", "middle"))
    for (label, _), line, kind in zip(series, points, "ab", strict=False):
        band = [f"{x(i):.1f},{y(one.high):.1f}" for i, one in enumerate(line)]
        band += [f"{x(i):.1f},{y(one.low):.1f}" for i, one in reversed(list(enumerate(line)))]
        path = " ".join(f"{x(i):.1f},{y(one.value):.1f}" for i, one in enumerate(line))
        parts.append(
            f'<polygon class="band {kind}" points="{" ".join(band)}"/><polyline class="{kind}" points="{path}"/>'
        )
        for i, one in enumerate(line):
            title = f"{label}, {i + 1}: {one.value:.3f}"
            spot = f'cx="{x(i):.1f}" cy="{y(one.value):.1f}" r="3.5"'
            parts.append(f'<circle class="{kind}" {spot}><title>{escape(title)}</title></circle>')
    return _svg(height, parts, "Recall by the number of passages")


def boxes(series: Sequence[tuple[str, Sequence[float], str]]) -> str:
    """Distributions of milliseconds on one logarithmic axis: 5, 25, 50, 75 and 95 %; ("label", values, "a" or "b")."""
    shown = [(label, np.percentile(values, [5, 25, 50, 75, 95]), kind) for label, values, kind in series if any(values)]
    if not shown:
        return ""
    least = max(0.1, min(float(five[0]) for _, five, _ in shown))
    low, high = math.log10(least) - 0.05, math.log10(max(least * 1.2, *(float(five[4]) for _, five, _ in shown))) + 0.05

    def x(value: float) -> float:
        return LABELS + (WIDTH - LABELS - RIGHT) * (math.log10(max(value, least)) - low) / (high - low)

    height = TOP + ROW * len(shown) + BOTTOM
    parts = []
    for value in _decades(10**low, 10**high):
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(_text(x(value), height - BOTTOM + 18, f"{value:g} ms", "middle"))
    for row, (label, five, kind) in enumerate(shown):
        middle = TOP + ROW * row + ROW / 2
        places = [x(float(value)) for value in five]
        parts.append(_text(LABELS - 10, middle + 4, label, "end"))
        parts.append(f'<line class="{kind}" x1="{places[0]:.1f}" x2="{places[4]:.1f}" y1="{middle}" y2="{middle}"/>')
        parts.append(
            f'<rect class="{kind}" x="{places[1]:.1f}" y="{middle - 7}" height="14" rx="2" '
            f'width="{max(1.5, places[3] - places[1]):.1f}">'
            f"<title>{escape(label)}: median {five[2]:.1f} ms</title></rect>"
        )
        parts.append(
            f'<line class="median" x1="{places[2]:.1f}" x2="{places[2]:.1f}" y1="{middle - 7}" y2="{middle + 7}"/>'
        )
    return _svg(height, parts, "Distribution of times")


def forest(bars: Sequence[Bar]) -> str:
    """Differences around 0 with their intervals, the best known picture of which of them are more than chance."""
    if not bars:
        return ""
    reach = max(0.01, *(abs(end) for bar in bars for end in (bar.low, bar.high))) * 1.08
    height = TOP + ROW * len(bars) + BOTTOM

    def x(value: float) -> float:
        return LABELS + (WIDTH - LABELS - RIGHT) * (value + reach) / (2 * reach)

    parts = [f'<line class="axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>']
    ticks = (-reach * 0.9, -reach / 2, 0.0, reach / 2, reach * 0.9)
    parts += [_text(x(value), height - BOTTOM + 18, f"{value:+.3f}" if value else "0", "middle") for value in ticks]
    for row, bar in enumerate(bars):
        middle = TOP + ROW * row + ROW / 2
        parts.append(_text(LABELS - 10, middle + 4, bar.label, "end"))
        parts.append(
            f'<line class="{bar.kind}" x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{middle}" y2="{middle}"/>'
            f'<circle class="{bar.kind}" cx="{x(bar.value):.1f}" cy="{middle}" r="4.5">'
            f"<title>{escape(bar.label)}: {bar.value:+.3f}</title></circle>"
        )
    return _svg(height, parts, "Differences with their intervals")


def _decades(low: float, high: float) -> list[float]:
    steps = [step * 10.0**power for power in range(-1, 8) for step in (1, 3)]
    inside = [value for value in steps if low <= value <= high]
    return inside if len(inside) < 8 else [value for value in inside if f"{value:e}".startswith("1")]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
