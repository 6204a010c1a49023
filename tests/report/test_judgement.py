"""Mouth, picture, likeness and trust: sentences that the numbers decide."""

import pytest

from mdcf_jax.report import judgement, systems
from tests.report import scores

GENERATED = {
  'mouth_correlation': 0.48,
  'mouth_spread_ratio': 0.55,
  'pose_variance_ratio': 1.4,
  'laplacian_ratio_frame': 0.55,
  'lmd': 0.22,
}
REBUILT = {
  'mouth_correlation': 0.57,
  'mouth_spread_ratio': 0.29,
  'pose_variance_ratio': 0.45,
  'laplacian_ratio_frame': 0.54,
  'lmd': 0.04,
}
STILL = {
  'mouth_correlation': 0.11,
  'mouth_spread_ratio': 0.0,
  'pose_variance_ratio': 0.0,
  'laplacian_ratio_frame': 1.06,
  'lmd': 0.16,
}


@pytest.fixture
def read(tmp_path):
  """Systems of which every clip has the same scores."""

  def read(clips=4, name='clip{}', **given):
    paths = {who: tmp_path / f'{who}.json' for who in given}
    for who, values in given.items():
      rows = {name.format(i): values for i in range(clips)}
      scores.write(paths[who], scores.report(rows))
    return systems.read(paths)

  return read


def test_four_sentences(read):
  found = read(ours=GENERATED, rebuilt=REBUILT, still=STILL)
  mouth, picture, likeness, trust = judgement.sentences(found)
  assert mouth == (
    '<b>Mouth:</b> it follows the speech in part. Its opening goes with the '
    'true mouth’s by 0.48, where 1 is exactly so (<bdi>rebuilt</bdi> 0.57; a '
    'frozen picture, <bdi>still</bdi>, gets 0.11). It opens 0.55 times as far '
    'as the true one (<bdi>rebuilt</bdi> 0.29; a frozen picture, '
    '<bdi>still</bdi>, gets 0.00).'
  )
  assert picture == (
    '<b>Picture:</b> blurred, 0.55 of the true sharpness (<bdi>rebuilt</bdi> '
    'is as blurred, 0.54; <bdi>still</bdi> 1.06).'
  )
  assert '0.22 eye distances' in likeness
  assert 'Not to move at all is nearer' in likeness
  assert 'same person was not measured' in likeness
  assert 'low, 4 clips of 4 sources' in trust
  assert 'trust only rows marked better or worse' in trust


@pytest.mark.parametrize(
  'follows, word',
  [
    (0.9, 'closely'),
    (0.7, 'well'),
    (0.4, 'in part'),
    (0.25, 'a little'),
    (0.12, 'hardly'),
    (-0.5, 'no better than a frozen picture does'),
    (0.11, 'no better than a frozen picture does'),
  ],
)
def test_how_far_the_mouth_follows(read, follows, word):
  ours = {**GENERATED, 'mouth_correlation': follows}
  mouth = judgement.sentences(read(ours=ours, still=STILL))[0]
  assert f'it follows the speech {word}. ' in mouth


@pytest.mark.parametrize(
  'sharp, words',
  [
    (0.79, 'blurred, 0.79 of'),
    (0.81, 'about as sharp as the true one, 0.81 of'),
    (1.5, 'sharper than the true one, which noise can do, 1.50 of'),
  ],
)
def test_how_sharp_the_picture_is(read, sharp, words):
  ours = {**GENERATED, 'laplacian_ratio_frame': sharp}
  picture = judgement.sentences(read(ours=ours, other=ours))[1]
  assert words in picture
  assert ('as blurred' in picture) == (sharp < judgement.SHARP)


def test_a_frozen_picture_is_found_by_numbers_not_by_its_name(read):
  found = read(still=GENERATED, moving=STILL, head={**STILL, **_HEAD})
  assert [judgement.frozen(x) for x in found] == [False, True, False]
  near = judgement.sentences(read(ours={**GENERATED, 'lmd': 0.1}, still=STILL))
  assert 'Not to move' not in near[2]


_HEAD = {'pose_variance_ratio': 0.5}  # Only the mouth stands still.


def test_what_was_not_measured_has_no_sentence(read):
  (only,) = judgement.sentences(read(ours={'mouth_lag': 1.0}))
  assert only.startswith('<b>Trust:</b>') and 'intervals' in only
  likeness, _ = judgement.sentences(read(ours={'psnr': 30.0}))
  assert 'PSNR is 30.00, more is better' in likeness
  mouth, likeness, _ = judgement.sentences(
    read(ours={'lse_c_fixed': 5.0, 'csim': 0.8}, other={'csim': 0.7})
  )
  assert 'SyncNet’s confidence that lips fit the sound is 5.00.' in mouth
  assert 'the likeness of the person (CSIM) is 0.80 of 1 (' in likeness
  assert 'not measured' not in likeness


def test_trust_rests_on_clips_and_sources(read):
  def trust(clips, name='clip{}'):
    return judgement.sentences(read(clips, name, ours=GENERATED))[-1]

  assert 'low, 29 clips of 29 sources' in trust(29)
  assert 'fair, 30 clips of 30 sources' in trust(30)
  assert 'fair, 30 clips of 1 source ' in trust(30, 'anna_{}')
  assert 'low, 2 clips of 1 source ' in trust(2, 'anna/{}')
