"""What the page says: no paths, no options, and how long it takes."""

import re

import numpy as np
import pytest

from mdcf_jax.app import panel, words, work
from mdcf_jax.app.pace import Countdown, Pace


@pytest.mark.parametrize(
  ('said', 'shown'),
  [
    (
      '/tmp/x/a.png: no face found in /tmp/x/a.png; give the square around it '
      '(--crop X,Y,W,H), or take the centre (--crop none)',
      'The picture: no face found in the picture; give the square around it, '
      'or take the centre',
    ),
    ('/tmp/x/a.png: the file is empty', 'The file is empty'),
    ('no face 3, it has 1 (mdcf faces shows them)', 'No face 3, it has 1'),
    ('cannot read /home/me/.cache/mdcf_jax/x.task', 'Cannot read a file'),
    ('a\nb\0c', 'A b c'),
    ('12 frames/s and 3 / 4', '12 frames/s and 3 / 4'),
  ],
)
def test_errors_are_plain(said, shown):
  assert words.plain(said, {'/tmp/x/a.png': 'the picture'}) == shown


def test_errors_are_short():
  assert len(words.plain('x ' * 5000)) <= 300


def test_durations_and_sizes():
  found = [words.duration(s) for s in (-1, 8.4, 59, 83, 3000)]
  assert found == ['0 s', '8 s', '59 s', '1 min 20 s', '50 min']
  assert words.memory(2**29) == '0.50 GB' and words.memory(2**34) == '16 GB'


def test_the_time_left_is_learnt():
  now, pace = [0.0], Pace()
  kinds, totals = dict(diffusion='a', frames='b'), dict(diffusion=10, frames=20)

  def countdown():
    return Countdown(pace, kinds, totals, lambda: now[0])

  first = countdown()
  assert first.left() is None
  first('diffusion', 0, 10)
  now[0] += 10
  first('diffusion', 5, 10)  # 2 s each; frames are not known.
  assert first.left() is None
  first('frames', 0, 20)
  now[0] += 2
  first('frames', 4, 20)
  assert first.left() == pytest.approx(16 * 0.5)
  now[0] += 1
  assert first.left() == pytest.approx(7)

  second = countdown()
  assert second.left() == pytest.approx(10 * 2 + 20 * 0.5)
  second('diffusion', 0, 10)
  now[0] += 4
  second('diffusion', 1, 10)  # Slower: 4 s each.
  assert second.left() == pytest.approx(9 * 4 + 20 * 0.5)
  now[0] += 1e6
  assert second.left() == 0


def test_the_panel_says_how_far_it_is():
  picture = np.zeros((8, 8, 3), np.uint8)
  now = work.Snapshot(
    work.FRAMES, 4, 50, left=83, estimate='<b>', frame=picture, flow=picture
  )
  html = panel.to_html(now)
  assert 'picture 5 of 50' in html and 'about 1 min 20 s left' in html
  assert '&lt;b&gt;' in html and html.count('data:image/jpeg;base64,') == 2
  assert 'aria-valuenow="54"' in html
  assert re.search(r'<img alt="\w', html)
  waiting = panel.to_html(work.Snapshot(place=2))
  assert '2 videos are before yours' in waiting
  failed = work.Snapshot(work.FAILED, error='<script>')
  assert '<script>' not in panel.to_html(failed)
  assert panel.to_html(work.Snapshot(work.DONE)) == ''
