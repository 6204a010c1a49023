"""Makes the page of a study, and the key that tells which clip is whose.

All clips are brought to one size, rate, length and quality, so that nothing but
what is in the pictures and the sound tells them apart; the page knows them by
random names.
"""

import base64
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media.download import file_sha256
from mdcf_jax.pages import clips, document
from mdcf_jax.pages.markup import escape
from mdcf_jax.study.questions import KEYS, QUESTIONS

TRUTH = 'truth'
KEY_FORMAT, VERSION = 'mdcf-study-key', 1
# In every clip's metadata alike: participants are not told which are true.
_COMMENT = 'clip of a study; may be AI-generated'
_PAGE = pathlib.Path(__file__).with_name('page.html')
_SCRIPT = pathlib.Path(__file__).with_name('study.js')


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a study is made.

  Attributes:
    clips: of each system; the paper has 10.
    seconds: of a clip at most.
    size: pixels of a side, even.
    crf: quality of H.264; 18 can hardly be told from the original.
    seed: of the choice, the names and their order in the page.
    title: of the page.
  """

  clips: int = 10
  seconds: float = 10.0
  size: int = 256
  crf: int = 18
  seed: int = 0
  title: str = 'Judging short videos'


def write_study(
  page: pathlib.Path,
  key: pathlib.Path,
  systems: Mapping[str, Mapping[str, pathlib.Path]],
  settings: Settings,
) -> dict[str, Any]:
  """Writes both files.

  Args:
    page: .html.
    key: .json, which participants should not see.
    systems: files by clip, by the names of systems; TRUTH is one of them.
    settings: see there.

  Returns:
    The key, as JSON.

  Raises:
    InputError: the systems have too few clips in common, one has no sound or
      cannot be read, or a file cannot be written.
  """
  names = clips.common(list(systems.values()))
  if len(names) < settings.clips:
    raise InputError(
      f'the systems have {len(names)} clips in common, {settings.clips} are '
      'wanted (--clips)'
    )
  rng = np.random.default_rng(settings.seed)
  chosen = sorted(rng.choice(names, settings.clips, replace=False).tolist())
  tokens = _tokens(rng, len(chosen) * len(systems))
  known, contents = {}, {}
  for system, name, content in _encoded(systems, chosen, settings):
    token = next(tokens)
    known[token] = {'system': system, 'clip': name}
    contents[token] = content
  about = {
    'format': KEY_FORMAT,
    'version': VERSION,
    'study': _identity(systems, known, settings),
    'settings': dataclasses.asdict(settings),
    'questions': [question.key for question in QUESTIONS],
    'systems': list(systems),
    'clips': dict(sorted(known.items())),
  }
  # The names are random, so their order tells nothing.
  ordered = {token: contents[token] for token in sorted(contents)}
  _write_page(page, about['study'], ordered, settings)
  _write_key(key, about)
  return about


def _identity(systems, known, settings: Settings) -> str:
  """16 digits that two studies do not share.

  Of the files that clips are made of: encoders do not always repeat themselves
  to the bit.
  """
  files = {
    token: file_sha256(systems[about['system']][about['clip']])
    for token, about in sorted(known.items())
  }
  text = json.dumps([files, dataclasses.asdict(settings), KEYS])
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tokens(rng: np.random.Generator, count: int) -> Iterator[str]:
  """Names of clips, none twice."""
  found: dict[str, None] = {}
  while len(found) < count:
    found[f'c{rng.bytes(5).hex()}'] = None
  return iter(found)


def _encoded(systems, chosen, settings) -> Iterator[tuple[str, str, bytes]]:
  """Yields (system, clip, file) of all."""
  for name in chosen:
    read = {}
    for system, files in systems.items():
      frames, waveform = clips.read(
        files[name], settings.size, settings.seconds
      )
      if waveform is None or not len(waveform):
        raise InputError(f'{files[name]}: has no sound to judge lips by')
      read[system] = frames, waveform
    length = min(len(frames) for frames, _ in read.values())
    samples = length * clips.SAMPLE_RATE // clips.FPS
    for system, (frames, waveform) in read.items():
      short = max(samples - len(waveform), 0)
      sound = np.pad(waveform[:samples], (0, short))
      content = clips.encode_at(
        settings.crf, frames[:length], sound, mark=False, comment=_COMMENT
      )
      yield system, name, content


def _write_page(page, study: str, contents, settings: Settings) -> None:
  questions = [dataclasses.asdict(question) for question in QUESTIONS]
  about = {
    'study': study,
    'questions': questions,
    'clips': list(contents),
    'size': settings.size,
  }
  # `</script>` would end the element, whatever it stands in.
  data = json.dumps(about).replace('<', '\\u003c')
  videos = '\n'.join(
    f'<script type="text/plain" id="{token}">'
    f'{base64.b64encode(content).decode()}</script>'
    for token, content in contents.items()
  )
  document.write(
    page,
    _PAGE,
    title=settings.title,
    body=f'<h1>{escape(settings.title)}</h1>',
    data=data,
    videos=videos,
    count=str(len(contents)),
    script=_SCRIPT.read_text(encoding='utf-8'),
  )


def _write_key(path: pathlib.Path, about: Mapping[str, Any]) -> None:
  partial = path.with_name(path.name + '.partial')
  try:
    partial.write_text(json.dumps(about, indent=2) + '\n', encoding='utf-8')
    partial.replace(path)
  except OSError as error:
    raise InputError(f'{path}: cannot be written ({error})') from error
