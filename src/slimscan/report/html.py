"""HTML by small pure functions: what is text is escaped, what is markup says so by its type."""

from __future__ import annotations

import base64
import html as standard
from collections.abc import Iterable, Sequence

VOID = frozenset({"br", "hr", "img", "meta", "col"})


class Html(str):
    """Text that is markup already; anything else is escaped where it enters a page."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as markup: Html as it is, everything else escaped. Control characters, which HTML forbids, become "?"."""
    if isinstance(value, Html):
        return value
    clean = "".join(
        c if (c >= " " and c != "\x7f" and not "\ud800" <= c <= "\udfff") or c in "\n\t" else "?" for c in str(value)
    )
    return Html(standard.escape(clean, quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Attribute names: class_ is class, aria_label is aria-label; None leaves one out, True stands bare."""
    said = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        said += f" {word}" if value is True else f' {word}="{text(value)}"'
    if name in VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{join(children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after the other, each escaped unless it is markup; `between` is text."""
    return Html(text(between).join(text(part) for part in parts if part is not None))


def paragraph(*children: object, class_: str | None = None) -> Html:
    """A paragraph."""
    return tag("p", *children, class_=class_)


def section(key: str, title: str, *children: object) -> Html:
    """A section of the page with its heading; `key` is its anchor."""
    return tag("section", tag("h2", title, id=f"{key}-title"), *children, id=key, aria_labelledby=f"{key}-title")


def figure(picture: Html, caption: object, *, wide: bool = True) -> Html:
    """A picture with what it shows."""
    return tag(
        "figure", tag("div", picture, class_="picture"), tag("figcaption", caption), class_="wide" if wide else None
    )


def image(png: bytes, alt: str) -> Html:
    """A PNG inside the page, at most 1:1 in the density that charts are drawn for."""
    return tag("img", src="data:image/png;base64," + base64.b64encode(png).decode("ascii"), alt=alt)


def table(
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    caption: object = None,
    left: int = 1,
    marked: Sequence[int] = (),
    groups: Sequence[tuple[object, int]] = (),
    dense: bool = False,
) -> Html:
    """A table; the first `left` columns are text on the left, the others numbers on the right.

    groups: (title, columns) above the head. dense: many columns. marked: indices of rows that stand out.
    """
    above = (
        tag("tr", *(tag("th", title, colspan=width, scope="colgroup") for title, width in groups)) if groups else None
    )
    top = tag("thead", above, tag("tr", *(_cell("th", cell, n < left, scope="col") for n, cell in enumerate(head))))
    body = tag(
        "tbody",
        *(
            tag(
                "tr",
                *(
                    _cell("th" if n == 0 else "td", cell, n < left, scope="row" if n == 0 else None)
                    for n, cell in enumerate(row)
                ),
                class_="marked" if index in marked else None,
            )
            for index, row in enumerate(rows)
        ),
    )
    return tag(
        "div",
        tag("table", tag("caption", caption) if caption else None, top, body),
        class_="table dense" if dense else "table",
    )


def facts(pairs: Sequence[tuple[object, object]]) -> Html:
    """Names with what they are."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def items(children: Sequence[object]) -> Html:
    """A list of points."""
    return tag("ul", *(tag("li", child) for child in children))


def _cell(name: str, cell: object, is_left: bool, scope: str | None = None) -> Html:
    return tag(name, cell, class_="left" if is_left else None, scope=scope)
