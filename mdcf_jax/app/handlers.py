"""What the buttons of the page do. Needs gradio."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import gradio as gr

from mdcf_jax.app import framing, panel, uploads, words, work
from mdcf_jax.app.studio import VIDEO, Settings, Studio
from mdcf_jax.app.visits import Made, Visit
from mdcf_jax.errors import InputError

_TICK = 0.25  # Seconds between looks at a job.
_CUT = 256  # Pixels of the crop that is shown.


@contextlib.contextmanager
def _said() -> Iterator[None]:
  """What cannot be used becomes a notice on the page."""
  try:
    yield
  except InputError as error:
    raise gr.Error(words.plain(error), print_exception=False) from error


class Handlers:
  """One for all visitors; each has the key of gradio's session."""

  def __init__(self, studio: Studio, page: Any):
    self._studio, self._page = studio, page

  def give_picture(self, sent: Any, request: gr.Request) -> dict:
    """Takes the portrait; shows it as it was written anew."""
    if sent is None:
      return self.clear_picture(request)
    with _said():
      visit = self._studio.give_picture(_key(request), _path(sent))
      return self._pictured(visit)

  def example_picture(self, request: gr.Request) -> dict:
    with _said():
      return self._pictured(self._studio.example_picture(_key(request)))

  def clear_picture(self, request: gr.Request) -> dict:
    with _said():
      self._studio.store.visit(_key(request)).framing = None
    page = self._page
    return {page.portrait: None, page.cropping: gr.update(visible=False)}

  def choose(self, choice: str, request: gr.Request) -> dict:
    """Takes another face, or another part."""
    with _said():
      visit = self._framed(request)
      visit.framing.square(choice, visit.own)  # Unless there is none such.
      visit.choice = choice
      return self._framing(visit)

  def resize(self, percent: float, request: gr.Request) -> dict:
    """Takes another size of the square, about the same middle."""
    with _said():
      visit = self._framed(request)
      x, y, side, _ = visit.own
      new = float(percent) / 100 * min(visit.framing.picture.shape[:2])
      x, y = x + (side - new) / 2, y + (side - new) / 2
      visit.own = visit.framing.fit(x, y, new)
      return self._framing(visit)

  def point(self, request: gr.Request, event: gr.SelectData) -> dict:
    """Takes the face that was clicked at, or the place."""
    with _said():
      visit = self._framed(request)
      height, width = visit.framing.shown
      x, y = (float(value) for value in event.index)
      side = visit.own[2]
      choice, own = visit.framing.at(x / width, y / height, side)
      visit.choice = choice
      if choice == framing.OWN:
        visit.own = own
      return self._framing(visit)

  def give_sound(self, sent: Any, request: gr.Request):
    """Takes the recording."""
    if sent is None:
      self.clear_sound(request)
      return gr.skip()
    with _said():
      return str(self._studio.give_sound(_key(request), _path(sent))[1])

  def example_sound(self, request: gr.Request) -> str:
    with _said():
      return str(self._studio.example_sound(_key(request))[1])

  def clear_sound(self, request: gr.Request) -> None:
    with _said():
      self._studio.store.visit(_key(request)).sound = None

  def give_motion(self, sent: Any, request: gr.Request):
    """Takes the video to move by."""
    if sent is None:
      self.clear_motion(request)
      return gr.skip()
    with _said():
      return str(self._studio.give_motion(_key(request), _path(sent))[1])

  def clear_motion(self, request: gr.Request) -> None:
    with _said():
      self._studio.store.visit(_key(request)).motion = None

  def refresh(self, request: gr.Request):
    """Takes back what was said of a video before, unless it is being made."""
    with _said():
      visit = self._studio.store.visit(_key(request))
    if visit.job is not None and not visit.job.ended:
      return gr.skip()
    return gr.update(value=panel.START, visible=not visit.made)

  def show_driver(self, head: str, eyes: str) -> dict:
    return gr.update(visible=VIDEO in (head, eyes))

  def another_seed(self) -> int:
    return random.randrange(10**6)

  def plan(
    self,
    steps,
    seed,
    resolution,
    head,
    eyes,
    paste,
    motion,
    request: gr.Request,
  ) -> Iterator[str]:
    """Says what a video takes, once there is everything for one."""
    settings = Settings(steps, seed, resolution, head, eyes, paste, motion)
    try:
      job = self._studio.plan(_key(request), settings)
    except InputError:
      job = None  # It is said when somebody asks for the video.
    if job is None:
      yield ''
      return
    yield 'Finding out what this takes …'
    while not job.wait(_TICK):
      pass
    yield job.snapshot().error or job.snapshot().estimate

  def make(
    self,
    steps,
    seed,
    resolution,
    head,
    eyes,
    paste,
    motion,
    request: gr.Request,
  ) -> Iterator[dict]:
    """Makes a video, and shows how far it is."""
    settings = Settings(steps, seed, resolution, head, eyes, paste, motion)
    page = self._page
    try:
      visit, job = self._studio.start(_key(request), settings)
    except InputError as error:
      failed = work.Snapshot(work.FAILED, error=words.plain(error))
      yield {page.panel: gr.update(value=panel.to_html(failed), visible=True)}
      return
    yield {
      page.panel: gr.update(value=panel.to_html(job.snapshot()), visible=True),
      page.make: gr.update(interactive=False),
      page.stop: gr.update(visible=True),
      page.results: gr.update(visible=False),
      page.video: None,
      page.beside: None,
    }
    last = ''
    try:
      while not (job.wait(_TICK) or job.cancelled):
        self._studio.store.touch(visit)
        now = panel.to_html(job.snapshot())
        if now != last:
          last = now
          yield {page.panel: now}
    except GeneratorExit:  # The page was closed.
      job.cancel()
      raise
    yield self._ended(visit, job)

  def stop(self, request: gr.Request) -> None:
    with _said():
      self._studio.stop(_key(request))

  def show(self, name: str, request: gr.Request) -> dict:
    """Shows a video of the history."""
    with _said():
      visit = self._studio.store.visit(_key(request))
      for made in visit.made:
        if made.folder.name == name:
          return self._players(made)
      raise InputError('this video is not there any more')

  def welcome(self, request: gr.Request) -> dict:
    """Begins a visit."""
    with _said():
      self._studio.store.visit(_key(request))
    return {self._page.panel: panel.START}

  def end(self, request: gr.Request) -> None:
    """Ends a visit: its page was closed."""
    self._studio.store.end(_key(request))

  def _ended(self, visit: Visit, job: work.Job) -> dict:
    page, now = self._page, job.snapshot()
    if not job.ended or job.cancelled:
      now = work.Snapshot(work.STOPPED)
    shown = {
      page.panel: gr.update(
        value=panel.to_html(now), visible=now.stage != work.DONE
      ),
      page.make: gr.update(interactive=True),
      page.stop: gr.update(visible=False),
      page.results: gr.update(visible=bool(visit.made)),
    }
    if now.stage == work.DONE:
      shown[page.estimate] = now.estimate
    if visit.made:
      made = visit.made[0]
      shown |= self._players(made)
      choices = [(made.title, made.folder.name) for made in visit.made]
      shown[page.history] = gr.update(choices=choices, value=made.folder.name)
    return shown

  def _players(self, made: Made) -> dict:
    page = self._page
    return {
      page.video: str(made.video),
      page.beside: made.motion and str(made.motion),
      page.motion_tab: gr.update(visible=made.motion is not None),
      page.download: str(made.video),
      page.download_beside: made.motion and str(made.motion),
    }

  def _framed(self, request: gr.Request) -> Visit:
    visit = self._studio.store.visit(_key(request))
    if visit.framing is None:
      raise InputError('a portrait is missing')
    return visit

  def _pictured(self, visit: Visit) -> dict:
    """Shows a new portrait, and what is used of it."""
    path = visit.new_file('portrait.png')
    uploads.write_picture(path, visit.framing.picture)
    return {
      self._page.portrait: str(path),
      self._page.cropping: gr.update(visible=True),
      **self._framing(visit),
    }

  def _framing(self, visit: Visit) -> dict:
    """Shows what is used of the portrait."""
    page, found = self._page, visit.framing
    square = found.square(visit.choice, visit.own)
    preview, cut = visit.new_file('preview.jpg'), visit.new_file('crop.jpg')
    uploads.write_picture(preview, found.preview(square))
    uploads.write_picture(cut, found.cut(square, _CUT))
    share = 100 * visit.own[2] / min(found.picture.shape[:2])
    return {
      page.preview: str(preview),
      page.cut: str(cut),
      page.choice: gr.update(choices=found.choices, value=visit.choice),
      page.side: gr.update(
        visible=visit.choice == framing.OWN, value=round(share)
      ),
      page.note: gr.update(visible=bool(found.note), value=found.note),
    }


def _key(request: gr.Request) -> str:
  """What tells visitors apart."""
  if not request.session_hash:
    raise InputError('this page was not opened in a browser')
  return request.session_hash


def _path(sent: Any) -> Any:
  """The path that a browser names; `uploads.check` decides about it."""
  return sent.get('path') if isinstance(sent, dict) else None
