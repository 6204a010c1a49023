"""What the buttons do, without a server."""

import types

import pytest

pytest.importorskip('gradio', reason="no gradio (pip install '.[app]')")

from mdcf_jax.app import framing  # noqa: E402
from mdcf_jax.app.page import Page  # noqa: E402
from mdcf_jax.app.studio import Settings, Studio  # noqa: E402
from mdcf_jax.app.visits import Store  # noqa: E402
from mdcf_jax.app.work import Workshop  # noqa: E402
from mdcf_jax.media import face_search  # noqa: E402
from tests.app import samples  # noqa: E402
from tests.app.conftest import LIMITS  # noqa: E402

KEY = 'somebody'
REQUEST = types.SimpleNamespace(session_hash=KEY)


@pytest.fixture
def studio(pipe, monkeypatch):
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: [])
  with Store(LIMITS) as store:
    yield Studio(store, Workshop(pipe, LIMITS))


@pytest.fixture
def page(studio):
  return Page(studio)


@pytest.fixture
def do(page):
  """The functions of the page, by their names."""
  return {fn.name: fn.fn for fn in page.blocks.fns.values()}


@pytest.fixture
def visit(studio):
  """Somebody who gave a picture and a recording."""
  visit = studio.store.visit(KEY)
  visit.framing = framing.look(samples.picture(200, 100))
  visit.choice, visit.own = visit.framing.usual, (20, 10, 50, 50)
  visit.sound = samples.speech()[:, None], samples.RATE
  return visit


@pytest.mark.parametrize(
  ('choice', 'settings', 'title'),
  [
    (framing.MIDDLE, {}, '1: 0.4 s, seed 0, 20 steps'),
    (
      framing.OWN,
      dict(seed=7, steps=2, head='still', eyes='still', paste_back=True),
      '1: 0.4 s, seed 7, 2 steps, my own square, in the whole picture, '
      'head still, eyes open',
    ),
    (
      framing.MIDDLE,
      dict(resolution=128, head='video', eyes='video'),
      '1: 0.4 s, seed 0, 20 steps, 128 pixels, head as in a video, eyes as in '
      'a video',
    ),
  ],
)
def test_the_history_tells_what_differs(studio, visit, choice, settings, title):
  visit.choice, visit.motion = choice, (visit.folder / 'a.mp4', 1.0)
  _, job = studio.start(KEY, Settings(motion=False, **settings))
  visit.choice = framing.MIDDLE  # What is chosen later is not said.
  assert job.wait(60)
  assert [made.title for made in visit.made] == [title]


def test_the_panel_forgets_when_files_are_given(studio, do, visit, pipe):
  """But not while a video is made, nor does it hide one."""
  panel = do['refresh'](REQUEST)
  assert 'Give a portrait' in panel['value'] and panel['visible']
  pipe.go.clear()
  _, job = studio.start(KEY, Settings(motion=False))
  assert 'value' not in do['refresh'](REQUEST)
  pipe.go.set()
  assert job.wait(60)
  assert do['refresh'](REQUEST)['visible'] is False


def test_bad_files_do_not_stay(page, do, visit):
  """Nor what was given before, as its box is empty; only if they are bad."""
  visit.motion = visit.folder / 'a.mp4', 1.0
  shown = do['clear_picture'](REQUEST)
  assert shown[page.portrait] is None and not shown[page.cropping]['visible']
  assert do['clear_sound'](REQUEST) is do['clear_motion'](REQUEST) is None
  assert visit.framing is visit.sound is visit.motion is None
  fns = page.blocks.fns
  after = [
    (fns[fn.trigger_after].name, fn.name)
    for fn in fns.values()
    if fn.trigger_only_on_failure
  ]
  assert sorted(after) == [
    ('give_motion', 'clear_motion'),
    ('give_picture', 'clear_picture'),
    *[('give_sound', 'clear_sound')] * 2,
  ]
