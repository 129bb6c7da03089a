"""Charts of counts by status code or by version, by ECharts, which NiceGUI ships.

In: a record of the API (points of start, code, count).  Out: options; pure but for `chart`. A colour is never alone: the
legend has the code and its count, and the list beside the graph has every figure. Cold.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

# By class of status code, then by place within the class; each has 3:1 against both backgrounds.
COLOURS = {
    1: ("#7a7a7a",),
    2: ("#1f8a4c", "#2fa866", "#56b886"),
    3: ("#2a78d0", "#4c93dd"),
    4: ("#c77700", "#d98f1f", "#b8860b"),
    5: ("#d13438", "#e0575b", "#b5179e"),
}
GREY = "#808a96"
# Versions, in turn, with the same contrast.
SHADES = ("#2a78d0", "#c77700", "#1f8a4c", "#b5179e", "#d13438", "#7a7a7a")


def chart(options: dict[str, Any], label: str) -> ui.echart:
    """A chart with its name for those who do not see it; its figures must stand beside it too."""
    element = ui.echart(options).classes("chart")
    element.props(f'role="img" aria-label="{label}"')
    return element


def by_code(record: Mapping[str, Any], *, is_utc: bool) -> dict[str, Any]:
    """Counts over time, a series for each status code."""
    counts: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for point in record["points"]:
        counts[point["code"]][point["at"]] = point["count"]
    shades = {code: colour(code, [each for each in sorted(counts) if each // 100 == code // 100]) for code in counts}
    return _bars(record, [(str(code), shades[code], found) for code, found in sorted(counts.items())], is_utc=is_utc)


def by_version(record: Mapping[str, Any], names: Mapping[str, str], *, is_utc: bool) -> dict[str, Any]:
    """Counts over time, a series for each version; `names` by id, in their order."""
    counts: dict[str, dict[int, int]] = {version: {} for version in names}
    for point in record["version_points"]:
        # One that was made since the page was opened has no name yet.
        counts.setdefault(point["version"], {})[point["at"]] = point["count"]
    shades = {version: SHADES[number % len(SHADES)] for number, version in enumerate(counts)}
    series = [(names.get(version, version), shades[version], found) for version, found in counts.items() if found]
    return _bars(record, series, is_utc=is_utc)


def _bars(
    record: Mapping[str, Any], series: Sequence[tuple[str, str, Mapping[int, int]]], *, is_utc: bool
) -> dict[str, Any]:
    """Stacked bars: name, colour and counts by moment of each series."""
    start, end, step = record["start"], record["end"], record["step"]
    return {
        "useUTC": is_utc,
        "animation": False,
        "grid": {"left": 8, "right": 12, "top": 12, "bottom": 34, "containLabel": True},
        "legend": {
            "bottom": 0,
            "icon": "roundRect",
            "textStyle": {"color": GREY},
            ":formatter": f"(code) => ({json.dumps(_with_counts(series))})[code]",
        },
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "confine": True},
        "xAxis": {
            "type": "time",
            "min": start * 1000,
            "max": end * 1000,
            "axisLabel": {"color": GREY, "hideOverlap": True},
        },
        "yAxis": {
            "type": "value",
            "minInterval": 1,
            "axisLabel": {"color": GREY},
            "splitLine": {"lineStyle": {"color": "#80808040"}},
        },
        "series": [
            {
                "name": name,
                "type": "bar",
                "stack": "all",
                "barMaxWidth": 18,
                "itemStyle": {"color": shade},
                "data": [[at * 1000, counts.get(at, 0)] for at in range(start, end, step)],
            }
            for name, shade, counts in series
        ],
    }


def _with_counts(series: Sequence[tuple[str, str, Mapping[int, int]]]) -> dict[str, str]:
    return {name: f"{name}: {sum(counts.values()):,}" for name, _shade, counts in series}


def pulse(points: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Requests of each second, stacked: answered well, 4xx, 5xx. Points are (second, requests, 4xx, 5xx)."""
    series = (
        ("2xx and 3xx", COLOURS[2][0], [[at * 1000, total - client - server] for at, total, client, server in points]),
        ("4xx", COLOURS[4][0], [[at * 1000, client] for at, _total, client, _server in points]),
        ("5xx", COLOURS[5][0], [[at * 1000, server] for at, _total, _client, server in points]),
    )
    return {
        "animation": False,
        "grid": {"left": 8, "right": 12, "top": 12, "bottom": 34, "containLabel": True},
        "legend": {"bottom": 0, "icon": "roundRect", "textStyle": {"color": GREY}},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {"type": "time", "axisLabel": {"color": GREY, "hideOverlap": True}},
        "yAxis": {
            "type": "value",
            "minInterval": 1,
            "axisLabel": {"color": GREY},
            "splitLine": {"lineStyle": {"color": "#80808040"}},
        },
        "series": [
            {
                "name": name,
                "type": "line",
                "stack": "all",
                "symbol": "none",
                "areaStyle": {"opacity": 0.75},
                "lineStyle": {"width": 0},
                "itemStyle": {"color": shade},
                "data": data,
            }
            for name, shade, data in series
        ],
    }


def colour(code: int, same_class: Sequence[int]) -> str:
    """The colour of a code among those of its class."""
    shades = COLOURS.get(code // 100, (GREY,))
    return shades[same_class.index(code) % len(shades)] if code in same_class else shades[0]
