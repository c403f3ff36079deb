"""The HTML around the charts: one style sheet for light and dark, tables, and text that is always escaped.

A page opens as a file without a network, and from a server: one style sheet inside, no script, and a policy in the head
by which a browser runs none and fetches nothing, should a word of a model ever come through as markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--bg:#fbfaf7;--card:#fff;--ink:#1d1f23;--soft:#636a73;--rule:#e3e1da;--good:#1a7f4b;
--bad:#b3372f;--c0:#2f6db5;--c1:#d9812c;--c2:#3d9a64;--c3:#b5488f;--c4:#7d6bc4;--c5:#a8791f;--c6:#2aa0a8;--c7:#7b828c}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--card:#1d2024;--ink:#e8e6e1;--soft:#a0a7b0;--rule:#33373d;
--good:#63c994;--bad:#ee8378;--c0:#72a8ea;--c1:#eda35a;--c2:#6cc492;--c3:#dd85bf;--c4:#aa9bec;--c5:#d6ac56;--c6:#62c8cf;
--c7:#98a0aa}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1000px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px}h2{font-size:21px;margin:44px 0 6px}h3{font-size:16px;margin:0 0 6px}
p{margin:6px 0 12px}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:22px 0}
.tile,.card{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:14px 16px}
.tile b{display:block;overflow-wrap:break-word;font-size:27px;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13.5px}
.card{margin:12px 0;overflow-x:auto}
.chart{width:100%;min-width:520px;height:auto;display:block}
.axis{stroke:var(--soft);stroke-width:1.5}.grid{stroke:var(--rule);stroke-width:1}.lead{stroke:var(--rule);stroke-width:1}
.label{fill:var(--soft);font-size:12.5px}.name{font-size:13px;font-weight:600}
.line{fill:none;stroke-width:2.2}.raw{fill:none;stroke-width:1;opacity:.28}.whisker{stroke-width:2;opacity:.42}
.dot{stroke-width:2}.hollow{fill:var(--card)!important}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
.caption{color:var(--soft);margin:0 0 8px;font-size:14px}.scroll{overflow-x:auto}
.keys{display:none;flex-wrap:wrap;gap:2px 16px;font-size:13px;margin:0 0 8px}
.key{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
th,td{text-align:right;padding:6px 5px;border-bottom:1px solid var(--rule);vertical-align:top;white-space:pre}
th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}
tr:last-child td,tr:last-child th{border-bottom:0}tbody th{font-weight:500}
th small,td small{display:block;opacity:.75;font-size:12px;font-weight:400}.edge{border-left:2px solid var(--rule);
padding-left:12px}
.scroll th:first-child{position:sticky;left:0;background:var(--card);z-index:1}
.dense table{font-size:13px}.dense th,.dense td{padding:4px 5px;white-space:nowrap}.dense thead th{font-size:12px}
.dense tbody th{white-space:normal;overflow-wrap:break-word;max-width:170px}.dense small{font-size:11px}
.words td,.words th{white-space:pre-wrap;overflow-wrap:anywhere;text-align:left}
.stack td,.stack th{white-space:pre-line;overflow-wrap:break-word;text-align:left}
details{margin:10px 0}summary{cursor:pointer;color:var(--soft)}
.problem{display:grid;grid-template-columns:minmax(150px,220px) 1fr;gap:18px}
@media(max-width:640px){.problem{grid-template-columns:1fr}.keys{display:flex}main{padding:28px 14px 60px}
th:first-child,td:first-child{max-width:42vw;white-space:normal;overflow-wrap:break-word}
.chart.plot{min-width:400px}.plot .label{font-size:17px}.plot .name{display:none}
.chart.bars{min-width:326px}.bars .label{font-size:18.5px}
.stack thead{display:none}.stack tr{display:block;padding:8px 0;border-bottom:1px solid var(--rule)}
.stack th:first-child{position:static}
.stack th,.stack td{display:block;border:0;padding:1px 0;text-align:left;max-width:none;white-space:pre-wrap;
overflow-wrap:anywhere}.stack td[data-name]:not(:empty)::before{content:attr(data-name) ": ";color:var(--soft)}}
.problem img{width:100%;background:#fff;border-radius:8px;border:1px solid var(--rule);image-rendering:auto}
.says{border-left:3px solid var(--rule);padding:2px 0 2px 12px;margin:8px 0;white-space:pre-wrap;overflow-wrap:anywhere;
font-size:14.5px}
.says.right{border-color:var(--good)}.says.wrong{border-color:var(--bad)}
.says.picked{background:color-mix(in srgb,var(--c0) 9%,transparent)}
.who{display:block;color:var(--soft);font-size:13px;white-space:normal}
.tag{display:inline-block;border:1px solid var(--rule);border-radius:99px;padding:0 9px;font-size:12.5px;
color:var(--soft);margin:0 4px 4px 0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:0 18px}
code{font-size:14px;overflow-wrap:anywhere}pre{overflow-x:auto;font-size:14px}
a{color:var(--c0)}nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 18px}.free{white-space:pre-wrap;
overflow-wrap:anywhere}.shown{max-width:100%;max-height:24rem;background:#fff;border-radius:8px}
.error{border-left:4px solid var(--bad);padding:8px 14px;background:var(--card);white-space:pre-wrap;
overflow-wrap:anywhere}
form.inline{display:inline}form.bar{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:end;margin:12px 0}
input,select,textarea,button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--rule);
border-radius:8px;padding:5px 10px;max-width:100%}button{cursor:pointer;margin:0 6px 4px 0}
textarea{width:100%;height:28rem;font:14px/1.4 ui-monospace,monospace}label input,label select{display:block}
@media print{.card,.tile{break-inside:avoid}}
"""
COLOUR_RULES = "".join(
    f".c{i}{{stroke:var(--c{i});fill:var(--c{i})}}text.c{i}{{stroke:none}}.line.c{i},.raw.c{i}{{fill:none}}"
    f".bar.c{i}{{stroke:none}}.key.k{i}{{background:var(--c{i})}}"
    for i in range(8)
)


TINTS = 7
COLOUR_RULES += "".join(
    f".t{i}{{background:color-mix(in srgb,var(--bad) {10 * i}%,transparent)}}" for i in range(1, TINTS + 1)
)


def _hash(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


POLICY = (
    "default-src 'none'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    f"style-src 'sha256-{_hash(STYLE + COLOUR_RULES)}'"
)
"""The Content-Security-Policy of every page: nothing but its own style sheet and pictures."""


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text: `small` stands below, `css` are classes, `tip` is shown by the mouse, `link` makes
    the text a link, `html` follows as it is."""

    text: str = ""
    small: str = ""
    css: str = ""
    tip: str = ""
    link: str = ""
    html: str = ""


def page(title: str, body: Sequence[str], *, nav: str = "", refresh: int = 0) -> str:
    """A whole self-contained page: no script, nothing fetched. `refresh`: seconds after which a browser asks for it
    again, 0 never."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">{again}'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{COLOUR_RULES}</style></head>"
        f"<body><main>{f'<nav>{nav}</nav>' if nav else ''}{''.join(body)}</main></body></html>\n"
    )


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    css: str = "",
    groups: Sequence[tuple[str, int]] = (),
) -> str:
    """A table with scoped headers, its caption above the box that it may be scrolled in; text is escaped.

    The first cell of a row is its header. `groups`: names above so many columns each, after the first column. `css`:
    `dense` for many columns, `words` for sentences, `stack` for rows whose cells stand one below the other on a phone.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    above = "".join(f'<th scope="colgroup" colspan="{n}" class="edge">{escape(name)}</th>' for name, n in groups)
    above = f"<tr><td></td>{above}</tr>" if groups else ""
    names = [f' data-name="{escape(name, quote=True)}"' if "stack" in css and name else "" for name in head]
    body = "".join(
        "<tr>"
        + _cell(row[0], "th", ' scope="row"')
        + "".join(_cell(cell, "td", name) for name, cell in zip(names[1:], row[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    name = escape(caption, quote=True)
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return (
        f'{said}<div class="{f"scroll {css}".strip()}"><table aria-label="{name}">'
        f"<thead>{above}<tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str | Cell, tag: str, more: str) -> str:
    if isinstance(cell, str):
        cell = Cell(cell)
    text = escape(cell.text)
    if tag == "th":  # the long names of skills and fields have no blanks to break at
        text = text.replace(":", ":<wbr>").replace("_", "_<wbr>")
    if cell.link:
        text = f'<a href="{escape(cell.link, quote=True)}">{text}</a>'
    if cell.small:
        text += f"<small>{escape(cell.small)}</small>"
    css = f' class="{escape(cell.css, quote=True)}"' if cell.css else ""
    tip = f' title="{escape(cell.tip, quote=True)}"' if cell.tip else ""
    return f"<{tag}{more}{css}{tip}>{text}{cell.html}</{tag}>"


def link(text: str, to: str) -> str:
    return f'<a href="{escape(to, quote=True)}">{escape(text)}</a>'


def tint(value: float, full: float) -> str:
    """The class of a background between none and, at `full` and above, the page's colour for bad."""
    level = round(TINTS * min(1.0, max(0.0, value / full)))
    return f"t{level}" if level else ""


def percent(cell: Mapping[str, Any]) -> str:
    """A measured share (of `r3v.run.evaluation.cell`), its interval, and the share of answers that named none."""
    low, high = cell["ci95"]
    unread = f"\n{100 * cell['unparsed']:.1f} unparsed" if cell.get("unparsed") else ""
    return f"{100 * cell['accuracy']:.1f}\n{100 * low:.1f} to {100 * high:.1f}{unread}"


def points(value: float, digits: int = 1) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text


def whole(value: float) -> str:
    """A number without decimals; what rounds to nothing is 0 and not -0."""
    return f"{round(value)}"


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 round, 2 rounds."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def card(*parts: str) -> str:
    return f'<div class="card">{"".join(parts)}</div>'


def details(summary: str, *parts: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def tile(number: str, what: str, css: str = "") -> str:
    return f'<div class="tile"><b class="{css}">{escape(number)}</b><span>{escape(what)}</span></div>'


def says(who: str, text: str, css: str = "") -> str:
    """Something the model wrote, with who wrote it."""
    shown = escape(text.strip()) or '<span class="soft">(nothing)</span>'
    return f'<div class="says {css}"><span class="who">{escape(who)}</span>{shown}</div>'


def standalone(drawing: str) -> str:
    """A chart as an SVG file of its own, with the page's colours in it."""
    opening, rest = drawing.split(">", 1)
    style = f"<style>{STYLE}{COLOUR_RULES}svg{{background:var(--bg);font-family:sans-serif}}</style>"
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'
