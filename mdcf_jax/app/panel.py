"""The panel that says how far a video is, as HTML."""

import base64
import html
import io

import numpy as np

from mdcf_jax.app import words, work

_WORDS = {
  work.READING: 'Listening to the recording and looking at the portrait',
  work.COMPILING: 'Getting ready',
  work.DIFFUSION: 'Making the motion',
  work.FRAMES: 'Painting the pictures',
  work.STOPPED: 'Stopped. Nothing was kept.',
}
_UNITS = {work.DIFFUSION: 'step', work.FRAMES: 'picture'}
_FIRST = 'the first video of a length takes up to a few minutes here'
# Shares of the bar where a stage begins and ends.
_SHARES = {work.DIFFUSION: (0.05, 0.5), work.FRAMES: (0.5, 1.0)}

START = (
  '<div class="panel empty"><p>Give a portrait and a recording, then press '
  '<b>Make the video</b>. It appears here, picture by picture.</p></div>'
)


def to_html(now: work.Snapshot) -> str:
  """A snapshot as one block; nothing a visitor gave is in it unescaped."""
  if now.stage == work.DONE:
    return ''
  if now.stage == work.FAILED:
    return _block(f'<p role="alert">{html.escape(now.error)}</p>', 'failed')
  if now.stage == work.STOPPED:
    return _block(f'<p>{_WORDS[now.stage]}</p>')
  parts = [f'<p aria-live="polite"><b>{_title(now)}</b>{_left(now)}</p>']
  parts.append(
    '<div class="bar" role="progressbar" aria-valuemin="0" '
    f'aria-valuemax="100" aria-valuenow="{round(100 * share(now))}">'
    f'<div style="width:{100 * share(now):.1f}%"></div></div>'
  )
  if now.estimate:
    parts.append(f'<p class="small">{html.escape(now.estimate)}</p>')
  if now.frame is not None:
    parts.append(
      '<div class="live">'
      f'{_figure(now.frame, "the newest picture")}'
      f'{_figure(now.flow, "its motion")}</div>'
      f'<p class="small">{LEGEND}</p>'
    )
  return _block(''.join(parts))


LEGEND = (
  'Motion in colours: each colour is a direction, white is rest, and the '
  'stronger the colour, the farther.'
)


def share(now: work.Snapshot) -> float:
  """How much of the work is done, in [0, 1]."""
  if now.stage not in _SHARES:
    return 0.02 if now.stage == work.COMPILING else 0.0
  low, high = _SHARES[now.stage]
  return low + (high - low) * now.done / max(1, now.total)


def _title(now: work.Snapshot) -> str:
  if now.stage == work.WAITING:
    if now.place == 0:
      return _WORDS[work.COMPILING]
    others = 'one video is' if now.place == 1 else f'{now.place} videos are'
    return f'Waiting: {others} before yours'
  title = _WORDS[now.stage]
  if now.stage in _UNITS and now.total:
    title += f': {_UNITS[now.stage]} {min(now.done + 1, now.total)}'
    title += f' of {now.total}'
  return title


def _left(now: work.Snapshot) -> str:
  if now.left is not None:
    return f' · about {words.duration(now.left)} left'
  ready = now.stage == work.WAITING and now.place == 0
  return f' · {_FIRST}' if ready or now.stage == work.COMPILING else ''


def _figure(picture: np.ndarray, caption: str) -> str:
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'JPEG', quality=85)
  data = base64.b64encode(file.getvalue()).decode()
  return (
    f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}">'
    f'<figcaption>{caption}</figcaption></figure>'
  )


def _block(content: str, kind: str = '') -> str:
  return f'<div class="panel {kind}">{content}</div>'
