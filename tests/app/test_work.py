"""Jobs: one at a time, stopped at once, and nothing half-made is left."""

import dataclasses
import time

import numpy as np
import pytest

from mdcf_jax.app import work
from mdcf_jax.app.limits import Limits
from mdcf_jax.app.work import DONE, FAILED, STOPPED, Order, Workshop
from mdcf_jax.errors import InputError
from mdcf_jax.media import mark, video
from mdcf_jax.media.files import open_media
from mdcf_jax.media.provenance import label
from mdcf_jax.pipeline import Pipeline
from tests.app import samples
from tests.app.fake_pipe import FakePipe

SECONDS = 120  # A loaded machine is slow, not wrong.


@pytest.fixture
def pipe():
  return FakePipe()


@pytest.fixture
def shop(pipe):
  return Workshop(pipe, Limits(waiting=1))


def order(folder, seconds=0.4, **options):
  sound = samples.speech(seconds)[:, None], samples.RATE
  usual = dict(crop='none', steps=2, seed=0, resolution=64, paste_back=False)
  folder.mkdir()
  return Order(samples.picture(), sound, usual | options, folder)


def eventually(condition):
  end = time.monotonic() + SECONDS
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


def comment(path):
  with open_media(path) as container:
    return container.metadata['comment']


def test_a_video_and_its_motion(shop, tmp_path):
  job = shop.start(order(tmp_path / 'a'))
  assert job.wait(SECONDS) and job.snapshot().stage == DONE
  sizes = {work.VIDEO_NAME: (64, 64), work.MOTION_NAME: (128, 64)}
  assert {x.name for x in (tmp_path / 'a').iterdir()} == set(sizes)
  for name, size in sizes.items():
    info = video.probe(tmp_path / 'a' / name)
    assert (info.width, info.height) == size and info.has_audio
    assert info.duration == pytest.approx(0.4, abs=0.05)
    assert comment(tmp_path / 'a' / name) == label(marked=True)
  assert '10 frames of 64 × 64' in job.snapshot().estimate
  assert not shop.busy


def test_every_picture_that_leaves_is_marked(shop, tmp_path, monkeypatch):
  """Those of both files, and those that are shown meanwhile."""
  marked, embed = [], mark.embed

  def counted(frame):
    marked.append(frame.shape)
    return embed(frame)

  monkeypatch.setattr(mark, 'embed', counted)
  monkeypatch.setattr(work, '_SHOWN_EVERY', -1.0)
  job = shop.start(order(tmp_path / 'a'))
  assert job.wait(SECONDS)
  assert marked.count((64, 128, 3)) == 10  # Beside their motion.
  # Frames, and shown: frame and flow.
  assert marked.count((64, 64, 3)) == 10 + 2 * 10


def test_a_video_of_the_whole_picture(shop, tmp_path):
  wide = dataclasses.replace(
    order(tmp_path / 'a', paste_back=True), picture=samples.picture(120, 96)
  )
  job = shop.start(wide)
  assert job.wait(SECONDS) and job.snapshot().stage == DONE, job.snapshot()
  info = video.probe(tmp_path / 'a' / work.VIDEO_NAME)
  assert (info.width, info.height) == (120, 96)
  info = video.probe(tmp_path / 'a' / work.MOTION_NAME)
  assert (info.width, info.height) == (120 + 96, 96)


def test_it_is_shown_while_it_is_made(shop, pipe, tmp_path):
  pipe.go.clear()
  job = shop.start(order(tmp_path / 'a'))
  eventually(lambda: job.snapshot().stage == work.FRAMES)
  assert job.snapshot().frame is None
  pipe.go.set()
  time.sleep(0.01)
  pipe.go.clear()
  eventually(lambda: job.ended or job.snapshot().frame is not None)
  if not job.ended:
    now = job.snapshot()
    assert now.frame.shape == now.flow.shape == (64, 64, 3)
  pipe.go.set()
  assert job.wait(SECONDS)


def test_stopping_leaves_nothing(shop, pipe, tmp_path):
  pipe.go.clear()
  job = shop.start(order(tmp_path / 'a'))
  eventually(lambda: job.snapshot().stage == work.FRAMES)
  assert any((tmp_path / 'a').iterdir())
  job.cancel()
  assert job.wait(SECONDS) and job.snapshot().stage == STOPPED
  assert not (tmp_path / 'a').exists() and not shop.busy


def test_one_after_the_other(shop, pipe, tmp_path):
  pipe.go.clear()
  jobs = [shop.start(order(tmp_path / name)) for name in 'ab']
  eventually(lambda: jobs[0].snapshot().stage == work.FRAMES)
  assert jobs[1].snapshot().stage == work.WAITING
  assert jobs[1].snapshot().place == 1
  with pytest.raises(InputError, match='others wait'):
    shop.start(order(tmp_path / 'c'))
  jobs[1].cancel()  # Stopped while it waits.
  assert jobs[1].wait(SECONDS) and jobs[1].snapshot().stage == STOPPED
  third = shop.start(order(tmp_path / 'd'))
  pipe.go.set()
  assert third.wait(SECONDS) and third.snapshot().stage == DONE
  assert jobs[0].snapshot().stage == DONE and len(pipe.given) == 2


@pytest.mark.parametrize(
  ('error', 'said'),
  [
    (InputError('/tmp/a/b.png: no face found (--crop none)'), 'no face found'),
    (KeyError('/secret/path'), 'something went wrong'),
  ],
)
def test_what_fails_is_said_without_paths(shop, pipe, tmp_path, error, said):
  pipe.error = error
  job = shop.start(order(tmp_path / 'a'))
  assert job.wait(SECONDS)
  now = job.snapshot()
  assert now.stage == FAILED and said.lower() in now.error.lower()
  assert '/' not in now.error and '--' not in now.error
  assert not (tmp_path / 'a').exists() and not shop.busy


def test_what_does_not_fit_is_refused_before_it_starts(shop, pipe, tmp_path):
  pipe.free = 2**29
  job = shop.start(order(tmp_path / 'a'))
  assert job.wait(SECONDS) and job.snapshot().stage == FAILED
  assert 'need 1.00 GB of memory and 0.50 GB are free' in job.snapshot().error


def test_a_plan_makes_nothing(shop, tmp_path):
  plan = dataclasses.replace(order(tmp_path / 'a'), folder=None)
  job = shop.start(plan)
  assert job.wait(SECONDS) and job.snapshot().stage == DONE
  assert 'of memory' in job.snapshot().estimate
  assert not any((tmp_path / 'a').iterdir())


def test_with_a_pipeline(tiny_weights, tmp_path):
  """Random weights, but the way that a true video takes."""
  shop = Workshop(Pipeline.from_pretrained(tiny_weights), Limits())
  job = shop.start(order(tmp_path / 'a', 0.6))
  assert job.wait(600) and job.snapshot().stage == DONE, job.snapshot()
  assert '15 frames of 64 × 64' in job.snapshot().estimate
  frames = list(video.iter_frames(tmp_path / 'a' / work.MOTION_NAME))
  assert len(frames) == 15 and frames[0].shape == (64, 128, 3)
  moved = np.abs(frames[0].astype(int) - frames[-1]).mean((0, 2))
  assert moved[:64].mean() > 1 and moved[64:].mean() > 1
