"""Graphs of counts: what stands beside the colours."""

from kongdp.controlplane.console.parts.charts import by_code


def test_the_legend_has_every_code_with_its_count() -> None:
    """A colour is never alone."""
    points = [{"at": 60, "code": 200, "count": 1_200}, {"at": 120, "code": 200, "count": 1}]
    points.append({"at": 120, "code": 404, "count": 3})
    options = by_code({"start": 0, "end": 180, "step": 60, "points": points}, is_utc=True)
    assert options["legend"][":formatter"] == '(code) => ({"200": "200: 1,201", "404": "404: 3"})[code]'
    assert [each["name"] for each in options["series"]] == ["200", "404"]
