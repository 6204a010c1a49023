"""What is counted for the report."""

import numpy as np

from mdcf_jax.data import synthetic
from mdcf_jax.prepare.report import identities
from mdcf_jax.prepare.report.figures import (
  Summary,
  Tally,
  Total,
  count_blinks,
  mouth_opening,
  read_clip,
)


def eyes_with(*blinks, length=100):
  eyes = np.full(length, 0.3)
  for start, end in blinks:
    eyes[start:end] = 0.08
  return eyes


def test_blinks_are_counted_once_where_they_begin():
  seen = np.ones(100, bool)
  assert count_blinks(eyes_with(), seen, 25.0) == 0
  assert count_blinks(eyes_with((10, 14), (60, 61)), seen, 25.0) == 2
  # Half a second is a blink, more is none; nor is what began before.
  assert count_blinks(eyes_with((10, 22)), seen, 25.0) == 1
  assert count_blinks(eyes_with((10, 23)), seen, 25.0) == 0
  assert count_blinks(eyes_with((0, 5), (97, 100)), seen, 25.0) == 1
  assert count_blinks(eyes_with((10, 23)), seen, 50.0) == 1
  # A narrow eye is not a shut one.
  assert count_blinks(0.4 * eyes_with(), seen, 25.0) == 0
  hidden = seen.copy()
  hidden[8:16] = False
  assert count_blinks(eyes_with((10, 14)), hidden, 25.0) == 0
  assert count_blinks(eyes_with((10, 14)), ~seen, 25.0) == 0


def test_blinks_of_a_drawn_head():
  """As many as were drawn: each shuts the eyes to 15 % for an instant."""
  clip = synthetic.make_clip(3, 250, 32)
  eyes = clip['blink'].mean(1)
  low = eyes < 0.6 * eyes.max()
  begins = np.flatnonzero(np.diff(low.astype(int)) == 1)
  figures = read_clip('train', clip)
  assert figures.blinks == len(begins) >= 3
  assert figures.watched == 10.0


def test_blink_rate_is_that_of_a_person():
  summary = Summary()
  clips = [synthetic.make_clip(seed, 150, 32, 5) for seed in (1, 2)]
  clips.append(synthetic.make_clip(3, 150, 32, 6))
  figures = [read_clip('train', clip) for clip in clips]
  for clip in figures:
    summary.add(clip)
  rates = summary.blink_rates()
  # Twelve seconds of the first; six of the second are too few.
  expected = (figures[0].blinks + figures[1].blinks) * 60 / 12
  np.testing.assert_allclose(rates, [expected, np.nan])


def test_mouth_opening_is_relative_to_the_face():
  clip = synthetic.make_clip(1, 30, 32)
  before = mouth_opening(clip)
  smaller = {key: clip[key] / 2 for key in ('landmarks', 'face_box')}
  np.testing.assert_allclose(mouth_opening(smaller), before, rtol=1e-5)
  gap = clip['landmarks'][:, 1, 1] - clip['landmarks'][:, 0, 1]
  assert np.corrcoef(before, gap)[0, 1] > 0.95  # The head turns and rolls.


def test_tally_is_exact_to_its_step():
  tally = Tally(0.1)
  rng = np.random.default_rng(0)
  values = rng.normal(0, 9, 5000)
  for part in np.split(values, 10):
    tally.add(part)
  tally.add(np.array([np.nan, np.inf, -np.inf, 1e20]))
  counted = tally.values()
  assert counted.counts.sum() == 5000 and tally.unknown == 4
  for part in (0.05, 0.5, 0.95):
    # Half a step, and the gap between neighbours of the sample.
    assert abs(counted.quantile(part) - np.quantile(values, part)) < 0.1


def people(*seconds):
  return {f'p{i}': Total(1, seconds=s) for i, s in enumerate(seconds)}


def test_headline_of_skewed_people():
  many = people(*[90] * 5, *[11] * 50)
  assert identities.headline(many) == (
    'Five people hold 45 % of the minutes; even shares would give them 9.1 %.'
  )
  assert identities.skewed(many)
  assert not identities.skewed(people(*[60] * 20))
  assert identities.headline(people(5)) == 'All minutes are of one person.'
  assert identities.headline(people(30, 10, 10)).startswith(
    'One person holds 60 %'
  )
  assert not identities.skewed({})
  assert 'Two people hold 50 %' in identities.headline(people(*[1.0] * 4))
