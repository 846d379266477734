"""Charts of the report, drawn by Vega-Altair as SVG inside the page.

An SVG fills the width it is given. Its texts use the page's font and its colours are the page's variables (`var(--ours)`),
so that it follows dark mode. Each mark keeps its label for screen readers, which is also its tooltip.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree

import altair as alt
import vl_convert

from finetune.wording.numbers import percent

WIDTH = 340  # units of an SVG, not many more than the pixels it gets on a phone, so that texts stay readable there
OURS, THEIRS, THIRD, INK, MUTED, GRID, BAD = (
    f"var(--{name})" for name in ("ours", "theirs", "third", "ink", "muted", "grid", "bad")
)
COLOURS = (OURS, THEIRS, THIRD, BAD)
DASHES = ([1, 0], [5, 3], [2, 2], [8, 3, 2, 3])
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Point:
    """A share with its 95% interval; `note` is the longer explanation, `strong` highlights it."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawn chart: its SVG, and its legend (name, colour, dashes in SVG's notation)."""

    svg: str
    legend: list[tuple[str, str, str]] = field(default_factory=list)


def drawn(chart: alt.TopLevelMixin, height: int, label: str) -> str:
    """SVG of a chart: scalable, labelled, in the page's font, with tooltips."""
    axis = {"labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 11.5, "titleFontSize": 11.5, "gridColor": GRID}
    chart = chart.properties(width=WIDTH, height=height, autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    chart = chart.configure(
        background="transparent",
        padding=2,
        font="sans-serif",
        axis=alt.AxisConfig(
            **axis, titleFontWeight="normal", ticks=False, domain=False, labelPadding=6, titlePadding=8, labelFlush=True
        ),
        view=alt.ViewConfig(stroke=None),
    )
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(chart.to_dict()))
    for name in ("width", "height", "class"):
        root.attrib.pop(name, None)
    root.set("role", "group")
    root.set("aria-label", label)
    for element in list(root.iter()):
        element.attrib.pop("font-family", None)
        if element.get("role") == "graphics-symbol" and element.get("aria-roledescription") != "axis":
            title = ElementTree.Element(f"{SVG}title")
            title.text = element.get("aria-label")
            element.insert(0, title)
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(root, encoding="unicode")


def forest(points: list[Point], label: str, reference: float | None = None) -> Figure:
    """One row a point: name and numbers above a dot with its interval; a short line marks the reference.

    Names are above the dots, not beside them, so that long and Chinese ones fit on a phone.
    """
    rows = [
        {
            "position": position,
            "name": point.name,
            "value": point.value,
            "low": point.low,
            "high": point.high,
            "numbers": f"{percent(point.value)}  ({100 * point.low:.1f} to {100 * point.high:.1f})",
            "label": f"{point.note or point.name}: {percent(point.value)}, 95% interval {percent(point.low)} to {percent(point.high)}",
            "strong": point.strong,
            "reference": reference,
        }
        for position, point in enumerate(points)
    ]
    ends = [end for point in points for end in (point.low, point.high)] + ([] if reference is None else [reference])
    margin = max(0.02, 0.05 * (max(ends) - min(ends)))
    scale = alt.Scale(domain=[max(0, min(ends) - margin), min(1, max(ends) + margin)], nice=False)
    colour = alt.when(alt.datum.strong).then(alt.value(OURS)).otherwise(alt.value(THEIRS))
    chart = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("position:O", axis=None, scale=alt.Scale(paddingOuter=0)), description="label:N"
    )
    x = alt.X(
        "value:Q",
        title=None,
        scale=scale,
        axis=alt.Axis(format="%", tickCount=5, gridDash=[1, 3]),
    )
    text = {"yOffset": -9, "fontSize": 12, "baseline": "middle", "aria": False}
    layers = [
        chart.mark_rule(strokeWidth=3, strokeCap="round", yOffset=8, opacity=0.55, aria=False).encode(
            x=alt.X("low:Q", title=None, scale=scale), x2="high:Q", color=colour
        ),
        chart.mark_point(filled=True, size=80, yOffset=8, opacity=1).encode(x=x, color=colour),
        *(
            chart.transform_filter(f"datum.strong == {str(strong).lower()}")
            .mark_text(align="left", color=INK, limit=190, fontWeight=weight, **text)
            .encode(x=alt.value(0), text="name:N")
            for strong, weight in ((True, 600), (False, 400))
        ),
        chart.mark_text(align="right", color=MUTED, **text).encode(x=alt.value("width"), text="numbers:N"),
    ]
    if reference is not None:
        tick = chart.mark_tick(color=INK, size=18, thickness=1.5, yOffset=8, aria=False)
        layers.insert(0, tick.encode(x=alt.X("reference:Q", title=None, scale=scale)))
    return Figure(drawn(alt.layer(*layers), 38 * len(rows) + 26, label))


def curve_legend(names: list[str], diagonal: bool, dots: bool) -> list[tuple[str, str, str]]:
    """Legend of lines: name, colour and dashes; empty for one line without a diagonal."""
    dashes = [" ".join(map(str, pattern)) if pattern[1] else "" for pattern in DASHES]
    legend = list(zip(names, COLOURS, dashes, strict=False)) if len(names) > 1 or diagonal else []
    if diagonal:
        legend.append(("perfect" if dots else "by chance", MUTED, "2 3"))
    return legend


def curves(
    series: dict[str, Iterable[tuple[float, float]]],
    x: str,
    y: str,
    label: str,
    *,
    shares: tuple[bool, bool] = (False, False),
    diagonal: bool = False,
    dots: bool = False,
    bands: dict[str, list[tuple[float, float, float]]] | None = None,
    log: bool = False,
) -> Figure:
    """Lines, the first one ours; `shares`: whether the x and y axis show fractions; `bands`: (x, low, high) of each line."""
    rows = [
        {"series": name, "x": across, "y": up, "label": f"{name}: {x} {across:g}, {y} {up:.3g}"}
        for name, points in series.items()
        for across, up in points
    ]
    names = list(series)
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), legend=None)
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=list(DASHES[: len(names)])), legend=None)
    axes = [
        alt.Axis(grid=True, tickCount=5, **({"format": "%"} if is_share else {"format": "~s"} if axis == 0 else {}))
        for axis, is_share in enumerate(shares)
    ]
    unit = alt.Scale(domain=[0, 1]) if shares[0] and shares[1] and diagonal else alt.Scale(zero=False)
    across = alt.X("x:Q", title=x, axis=axes[0], scale=alt.Scale(type="log") if log else unit)
    up = alt.Y("y:Q", title=y, axis=axes[1], scale=unit)
    chart = alt.Chart(alt.Data(values=rows))
    # A line is one mark, which would be labelled by its first point; its series' name is better.
    layers = [
        chart.mark_line(strokeWidth=2.25).encode(x=across, y=up, color=colour, strokeDash=dash, description="series:N")
    ]
    if dots:
        layers.append(
            chart.mark_point(filled=True, size=42, opacity=1).encode(
                x=across, y=up, color=colour, description="label:N"
            )
        )
    if bands:
        values = [
            {"series": name, "x": at, "low": low, "y": high}
            for name, points in bands.items()
            for at, low, high in points
        ]
        band = alt.Chart(alt.Data(values=values)).mark_area(opacity=0.16, aria=False)
        layers.insert(0, band.encode(x=across, y=up, y2="low:Q", color=colour))
    if diagonal:
        ends = alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        line = ends.mark_line(color=MUTED, strokeWidth=1, strokeDash=[2, 3], aria=False)
        layers.insert(0, line.encode(x=across, y=up))
    return Figure(drawn(alt.layer(*layers), 240, label), curve_legend(names, diagonal, dots))


def stacked(rows: list[tuple[float, float, float]], x: str, y: str, label: str) -> Figure:
    """Stacked bars over confidence from (middle of the bin, rows right, rows wrong), wrong rows at the bottom."""
    values = [
        {
            "x": percent(at),
            "position": at,
            "kind": kind,
            "rows": count,
            "label": f"{kind} at about {percent(at)}: {count:g}",
        }
        for at, right, wrong in rows
        for kind, count in (("right", right), ("wrong", wrong))
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar(cornerRadius=1)
        .encode(
            x=alt.X(
                "position:O",
                title=x,
                axis=alt.Axis(labelExpr="format(datum.value, '.0%')", labelAngle=0, labelOverlap=True),
                scale=alt.Scale(paddingInner=0.15),
            ),
            y=alt.Y("rows:Q", title=y, axis=alt.Axis(tickCount=4)),
            color=alt.Color("kind:N", scale=alt.Scale(domain=["wrong", "right"], range=[BAD, OURS]), legend=None),
            order=alt.Order("kind:N", sort="descending"),
            description="label:N",
        )
    )
    return Figure(drawn(chart, 240, label), [("right", OURS, ""), ("wrong", BAD, "")])
