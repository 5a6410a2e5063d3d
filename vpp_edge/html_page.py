"""The style of every page that this package writes: plain values in, one HTML file out that needs nothing else.

A page is readable on a phone, where each row of a table becomes a block of labelled lines, and in a dark browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #55606e; --line: #dfe4ea; --paper: #fff; --accent: #2a6fbb;
  --good: #14713d; --bad: #b3261e; --open: #7a5f00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #a3adba; --line: #333c48; --paper: #14181e;
  --accent: #6aa9f0; --good: #5fc98b; --bad: #ff8a80; --open: #e0bd4c; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .4rem; }
p { margin: 0 0 1rem; max-width: 48rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1.5rem; }
dt, .more { color: var(--soft); } dd { margin: 0; } .more { font-size: .92em; font-weight: 400; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .5rem .6rem; text-align: left; vertical-align: top; overflow-wrap: break-word; }
th { border-bottom: 2px solid var(--soft); } td { border-bottom: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.good { color: var(--good); white-space: nowrap; } .bad { color: var(--bad); font-weight: 700; white-space: nowrap; }
.open { color: var(--open); white-space: nowrap; } .name { font-weight: 600; }
svg { display: block; width: 100%; max-width: 40rem; margin: 1.5rem 0; }
@media (max-width: 44rem) {
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  table, tbody, tr, td { display: block; } thead { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  td, td.number { border: 0; padding: .1rem 0; text-align: left; }
  td::before { content: attr(data-head) ": "; color: var(--soft); font-weight: 400; }
  td.name::before { content: none; }
  td:empty { display: none; }
}
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        more: further paragraphs, smaller.
        kind: `name` of the row, `number`, `good`, `bad`, `open` (neither), or empty.
    """

    text: str
    more: Sequence[str] = ()
    kind: str = ""


def html_page(title: str, *, intro: str, facts: Mapping[str, str], body: str) -> str:
    """A whole page.

    Args:
        title, intro: a line and a paragraph, plain text.
        facts: what was measured on what, by name; plain text.
        body: HTML.
    """
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>{escape(intro)}</p>
<dl>{listed}</dl>
{body}
</body></html>
"""


def html_table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table; on a phone every cell but the row's name says its head."""
    rows = list(rows)
    numeric = [cell.kind == "number" for cell in rows[0]]
    head = "".join(
        f"<th{' class=number' if number else ''}>{escape(name)}</th>"
        for name, number in zip(heads, numeric, strict=True)
    )
    lines = "\n".join(f"<tr>{''.join(map(_cell, heads, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table>"


def _cell(head: str, cell: Cell) -> str:
    kind = f' class="{cell.kind}"' if cell.kind else ""
    more = "".join(f'<div class="more">{escape(text)}</div>' for text in cell.more if text)
    return f'<td{kind} data-head="{escape(head)}">{escape(cell.text)}{more}</td>'
