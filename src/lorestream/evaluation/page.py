"""The report as one self-contained page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lorestream import __version__
from lorestream.evaluation import plots
from lorestream.evaluation.question_set import Example
from lorestream.evaluation.report import (
    Report,
    cells,
    count_of,
    cut,
    interval,
    one_line,
    shown_measures,
    snippet,
    where,
)
from lorestream.evaluation.run import Hit, Result
from lorestream.evaluation.scores import TIMES

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2127; --soft: #5d6673; --line: #e2e6eb; --card: #f6f7f9;
  --a: #2563c9; --b: #c2571a; --good: #1a7f4b; --bad: #c22f3d; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #98a2af; --line: #2c323a;
  --card: #1c2026; --a: #6ea3f7; --b: #f0965c; --good: #4cc38a; --bad: #f2777f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; }
p.lead, footer, .soft { color: var(--soft); }
.note { border-left: 3px solid var(--bad); padding: .5rem .9rem; background: var(--card); margin: .8rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .75rem; margin: 1.6rem 0; }
.tile { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; color: var(--a); }
.tile b + b { color: var(--b); font-size: 1.15rem; }
.tile span { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .8rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
td:not(:first-child) { white-space: nowrap; }
.a-ink { color: var(--a); } .b-ink { color: var(--b); }
.better { color: var(--good); } .worse { color: var(--bad); } .same { color: var(--soft); }
.two { display: grid; gap: 1rem; }
figure { margin: 0 0 1.4rem; } figcaption { color: var(--soft); font-size: .85rem; margin-bottom: .35rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); stroke-dasharray: 3 3; }
svg polyline { fill: none; stroke-width: 2; } svg .median { stroke: var(--ink); stroke-width: 2; }
svg .a { stroke: var(--a); fill: var(--a); } svg .b { stroke: var(--b); fill: var(--b); }
svg polyline.a, svg polyline.b { fill: none; }
svg rect.a, svg rect.b { fill-opacity: .35; } svg .band { stroke: none; fill-opacity: .14; }
svg .better { stroke: var(--good); fill: var(--good); } svg .worse { stroke: var(--bad); fill: var(--bad); }
svg .same { stroke: var(--soft); fill: var(--soft); }
svg line.better, svg line.worse, svg line.same { stroke-width: 2; }
details { border-bottom: 1px solid var(--line); padding: .55rem 0; }
summary { cursor: pointer; } summary::marker { color: var(--soft); }
details dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem .8rem; margin: .7rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ol.passages { padding-left: 1.6rem; margin: .4rem 0; } ol.passages li { margin: .35rem 0; overflow-wrap: anywhere; }
.right { color: var(--good); } .wrong { color: var(--bad); }
footer { margin-top: 3rem; font-size: .85rem; }
@media (max-width: 40rem) { details dl { grid-template-columns: 1fr; } td:not(:first-child) { white-space: normal; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
TILES = ("recall@1", "recall@4", "mrr", "contained", "citation_precision", "first_token_ms_p50")


def page(report: Report) -> str:
    """The whole page."""
    title = f"Evaluation: {report.set_name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{_lead(report)}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in report.notes),
        _tiles(report),
        _plots(report),
        "<h2>Measures</h2>",
        _measures(report),
        _changes(report),
        "<h2>Configuration</h2>",
        _rows(_head("setting", report), [[name, *values] for name, values in report.configurations.items()]),
        "<h2>How it was measured</h2>",
        _rows([], [[name, value] for name, value in report.facts.items()]),
        _worst(report),
        f"<footer>Made by Lorestream {escape(__version__)}. Intervals: 95 %, percentile bootstrap.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _lead(report: Report) -> str:
    part = "" if report.asked == report.wanted else f" of {report.wanted}; it was stopped"
    names = [
        f'<span class="{kind}-ink">{escape(scored.label)}</span>'
        for scored, kind in zip(report.scored, "ab", strict=False)
    ]
    return f"{report.asked} questions{part}: {' against '.join(names)}"


def _tiles(report: Report) -> str:
    known = {measure.name: measure for measure in report.measures}
    found = []
    for name in TILES:
        estimates = [scored.estimates.get(name) for scored in report.scored]
        if any(estimates):
            unit = known[name].unit
            values = [f"{one.value:.0f} ms" if unit == "ms" else f"{one.value:.3f}" for one in estimates if one]
            shown = "".join(f"<b>{value}</b>" for value in values)
            found.append(f'<div class="tile">{shown}<span>{escape(known[name].label)}</span></div>')
    return f'<div class="tiles">{"".join(found)}</div>'


def _plots(report: Report) -> str:
    labels = [scored.label for scored in report.scored]
    curve = plots.curve(list(zip(labels, report.curves, strict=True)))
    series = []
    for name, label in TIMES.items():
        for scored, kind, shown in zip(report.scored, "ab", (label, ""), strict=False):
            values = [result.times[name] for result in scored.results.values() if name in result.times]
            series.append((shown, values, kind))
    bars = [
        plots.Bar(one.measure.label, one.difference.low, one.difference.value, one.difference.high, _kind(one.verdict))
        for one in report.compared
        if one.measure.unit == "share"
    ]
    figures = [
        (curve, "Recall by the number of passages, with its interval"),
        (plots.forest(bars), "What changed: difference with its interval"),
        (plots.boxes(series), "Times: 5, 25, 50, 75 and 95 % of the questions"),
    ]
    return "".join(f"<figure><figcaption>{escape(text)}</figcaption>{svg}</figure>" for svg, text in figures if svg)


def _measures(report: Report) -> str:
    rows = [[one.label, str(count_of(report, one)), *cells(report, one)] for one in shown_measures(report)]
    return _rows(["measure", "questions", *(scored.label for scored in report.scored)], rows)


def _changes(report: Report) -> str:
    if not report.compared:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.measure.label)}</td><td>{escape(interval(one.difference, one.measure.unit))}</td>"
        f'<td class="{_kind(one.verdict)}">{one.verdict}</td></tr>'
        for one in report.compared
    )
    before, after = (escape(scored.label) for scored in report.scored)
    head = "<tr><th>measure</th><th>difference</th><th>verdict</th></tr>"
    return f'<h2>From {before} to {after}</h2><div class="wide"><table>{head}{rows}</table></div>'


def _kind(verdict: str) -> str:
    return {"better": "better", "worse": "worse"}.get(verdict, "same")


def _head(first: str, report: Report) -> list[str]:
    return [first, *(scored.label for scored in report.scored)]


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)] if head else []
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f'<div class="wide"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _worst(report: Report) -> str:
    if not report.worst:
        return ""
    label = f" ({report.scored[-1].label})" if len(report.scored) > 1 else ""
    found = "".join(_question(example, result) for example, result in report.worst)
    return f"<h2>Questions to look at first{escape(label)}</h2>{found}"


def _question(example: Example, result: Result) -> str:
    expected = "nothing: it is unanswerable" if example.unanswerable else " / ".join(example.answers) or "–"
    said = f"failed: {result.error}" if result.error else ("(refused) " if result.refused else "") + cut(result.answer)
    facts = [("expected", cut(expected)), ("answered", said or "–")]
    terms = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    passages = "".join(_passage(hit) for hit in result.hits[:4]) or '<li class="soft">no passage was found</li>'
    return (
        f"<details><summary>{escape(one_line(example.question))}</summary><dl>{terms}</dl>"
        f'<ol class="passages">{passages}</ol></details>'
    )


def _passage(hit: Hit) -> str:
    mark = '<span class="right">✓ right</span>' if hit.right else '<span class="wrong">✗</span>'
    place = f"{hit.filename}, {where(hit.page, hit.start, hit.end)}"
    return f'<li>{mark} <span class="soft">{escape(place)}</span> {escape(snippet(hit.text))}</li>'
