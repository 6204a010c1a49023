"""Histograms as SVG."""

import re

import numpy as np
import pytest

from mdcf_jax.prepare.report.charts import (
  Chart,
  bins,
  columns,
  histogram,
  round_width,
  values_of,
)


@pytest.mark.parametrize(
  'span, parts, least, width',
  [
    (100, 30, 1, 5),
    (30, 30, 1, 1),
    (31, 30, 1, 2),
    (0, 30, 0.5, 0.5),
    (0.4, 30, 0.001, 0.02),
    (12345, 30, 1, 500),
    (0, 30, 3, 5),
  ],
)
def test_widths_are_round(span, parts, least, width):
  assert round_width(span, parts, least) == pytest.approx(width)


@pytest.mark.parametrize('seed', range(4))
def test_every_value_is_in_its_bin(seed):
  rng = np.random.default_rng(seed)
  values = rng.normal(rng.uniform(-50, 50), rng.uniform(0.1, 40), 400)
  edges, counts, beyond = bins(Chart('a', 'b', least=0.1), values_of(values))
  assert beyond == 0 and counts.sum() == 400
  np.testing.assert_array_equal(counts, np.histogram(values, edges)[0])
  widths = np.diff(edges)
  assert 8 <= len(counts) <= 32
  np.testing.assert_allclose(widths, widths[0])
  np.testing.assert_allclose(edges / widths[0], np.rint(edges / widths[0]))


def test_bins_of_whole_numbers_have_these_in_the_middle():
  chart = Chart('lag', 'frames', whole=True)
  edges, counts, _ = bins(chart, values_of([-3.4, -2.6, 0, 2, 5.4]))
  middles = (edges[1:] + edges[:-1]) / 2
  found = dict(zip(middles.tolist(), counts.tolist()))
  assert {k: v for k, v in found.items() if v} == {-3: 2, 0: 1, 2: 1, 5: 1}


def test_one_value_stands_in_an_axis_of_several_bins():
  edges, counts, _ = bins(Chart('a', 'b'), values_of([0.0] * 5))
  assert edges[0] == 0 and len(counts) == 8 and counts[0] == 5
  edges, counts, _ = bins(Chart('a', 'b'), values_of([-7.5]))
  assert edges[0] < -7.5 < edges[-1] and counts.sum() == 1


def test_far_values_are_told_where_the_axis_leaves_them_out():
  values = [*np.random.default_rng(0).normal(0, 1, 1000), 1e4]
  chart = Chart('a', 'b', 'clips', least=0.1)
  trimmed = Chart('a', 'b', 'clips', least=0.1, trim=True)
  assert bins(chart, values_of(values))[0][-1] > 1e4
  edges, counts, beyond = bins(trimmed, values_of(values))
  assert edges[-1] < 5 and counts.sum() + beyond == 1001
  text = histogram(trimmed, values_of(values))
  assert f'{beyond} clips lie beyond the axis.' in text
  assert 'to 10,000' in text
  # Few other values, however far, are not left out.
  most = values_of([0.0] * 1000 + [30.0])
  assert bins(trimmed, most)[2] == 0


def test_bars_are_as_high_as_their_counts():
  text = histogram(Chart('a', 'b'), values_of([1, 1, 1, 1, 5, 5, 9]))
  bars = re.findall(r'height="([\d.]+)"><title>.*?: (\d)', text)
  heights = {int(count): float(height) for height, count in bars}
  assert heights[4] == pytest.approx(2 * heights[2], abs=0.1)
  assert heights[4] == pytest.approx(4 * heights[1], abs=0.2)
  assert '>median 1</text>' in text


@pytest.mark.parametrize('low', [-0.05, -12, 0, 3, 1e5])
def test_ticks_are_round_apart_and_inside(low):
  values = low + np.linspace(0, abs(low) / 2 + 0.01, 50)
  text = histogram(Chart('a', 'b', least=0.01), values_of(values))
  places = [float(x) for x in re.findall(r'class="tick" d="M([\d.]+)', text)]
  assert 2 <= len(places) <= 8
  assert 36 <= min(places) and max(places) <= 306.1
  # Places are written to a tenth.
  assert np.ptp(np.diff(places)) < 0.21 and min(np.diff(places)) > 30


def test_columns_have_their_numbers():
  text = columns(Chart('a', 'b'), ['25', '29.97', 'others'], [10, 2, 1])
  for name, count in (('25', 10), ('29.97', 2), ('others', 1)):
    assert f'<title>{name} b: {count} clips</title>' in text
    assert f'>{count}</text>' in text
  assert '<svg' not in columns(Chart('a', 'b'), [], [])
  assert '<svg' not in histogram(Chart('a', 'b'), values_of([np.nan]))
