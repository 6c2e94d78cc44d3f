"""The plotting style: what a picture shows is what was given, and series can be told apart without colour."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from reluopt.errors import ConfigError
from reluopt.tracking import style


def test_a_band_shows_median_and_range():
    _, axes = style.figure()
    runs = np.array([[1.0, 5.0, 2.0], [3.0, 4.0, 2.0], [2.0, 9.0, 8.0]])
    style.band(axes, [10, 20, 40], runs, "runs", 0)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[10, 2], [20, 5], [40, 2]])
    outline = axes.collections[0].get_paths()[0].vertices
    for x, low, high in zip([10, 20, 40], runs.min(axis=0), runs.max(axis=0), strict=True):
        at = outline[outline[:, 0] == x, 1]
        assert (at.min(), at.max()) == (low, high)


def test_a_missing_run_is_left_out_and_a_bracket_has_two_lines():
    _, axes = style.figure()
    style.band(axes, [1, 2], [[1.0, np.nan], [3.0, np.nan]], "low", 0, upper=[[5.0, 6.0], [7.0, np.inf]])
    low, high = (line.get_ydata() for line in axes.lines)
    np.testing.assert_array_equal(low, [2.0, np.nan])
    np.testing.assert_array_equal(high, [6.0, 6.0])


@pytest.mark.parametrize("runs", [[[1.0, 2.0]], [1.0, 2.0, 3.0, 4.0], np.zeros((0, 3)), np.zeros((2, 2, 3))])
def test_runs_of_another_length_are_refused(runs):
    _, axes = style.figure()
    with pytest.raises(ConfigError, match="abscissas"):
        style.band(axes, [1, 2, 3], runs, "runs", 0)


def test_series_differ_in_colour_marker_line_and_in_grey():
    looks = [style.series(index) for index in range(len(style.COLOURS))]
    for key in ("color", "marker", "linestyle"):
        assert len({look[key] for look in looks}) == len(looks)
    grey = [np.dot((0.2126, 0.7152, 0.0722), to_rgb(look["color"])) for look in looks]
    assert max(grey[:7]) < 0.7, "the first seven must carry on white paper"
    with pytest.raises(ConfigError, match="No style for series"):
        style.series(len(looks))


def test_a_heat_map_writes_each_finite_cell_once_and_legibly():
    figure, axes = style.figure()
    values = [[0.0, 1.0, 2.0], [3.0, np.nan, 5.0]]
    style.heat_map(axes, values, [10, 20, 30], [0.1, 0.5], "width", "β/β_max", "loss", text="{:.1f}")
    cells = {(text.get_position(), text.get_text()): text.get_color() for text in axes.texts}
    assert {key[1] for key in cells} == {"0.0", "1.0", "2.0", "3.0", "5.0"}
    assert cells[(0, 0), "0.0"] == "white"
    assert cells[(2, 1), "5.0"] == "black"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "20", "30"]
    assert figure.axes[1].get_ylabel() == "loss"
    with pytest.raises(ConfigError, match="heat map"):
        style.heat_map(axes, values, [10, 20], [0.1, 0.5], "width", "β/β_max", "loss")


def test_a_saved_picture_has_150_dpi_and_a_large_one_is_refused(tmp_path):
    figure, (left, _) = style.figure(4.0, 2.0, ncols=2)
    style.band(left, [1, 2], [1.0, 2.0], "runs", 1)
    style.legend(figure)
    style.legend(left)
    style.title(left, "left panel")
    style.save(figure, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (300, 600)
    noisy, axes = style.figure(12.0, 12.0)
    axes.imshow(np.random.default_rng(0).random((1500, 1500, 3)))
    with pytest.raises(ConfigError, match="kB are allowed"):
        style.save(noisy, tmp_path / "noisy.png")
    assert not (tmp_path / "noisy.png").exists()
