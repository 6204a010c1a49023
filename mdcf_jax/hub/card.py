"""The page of a repository on the Hub, made from config.json alone."""

from collections.abc import Mapping
from typing import Any

# Licences as people write them, and as the Hub calls them.
_LICENCES = {
  'apache-2.0': 'apache-2.0',
  'apache 2.0': 'apache-2.0',
  'mit': 'mit',
  'bsd-3-clause': 'bsd-3-clause',
  'cc-by-4.0': 'cc-by-4.0',
  'cc-by-sa-4.0': 'cc-by-sa-4.0',
  'cc-by-nc-4.0': 'cc-by-nc-4.0',
  'cc-by-nc-sa-4.0': 'cc-by-nc-sa-4.0',
}
_WHAT = {
  'fde': 'regions, flow and decoder of frames',
  'lmae': 'auto-encoder of motion',
  'diffusion': 'latents of all frames from the sound',
  'pbnet': 'head pose and blinks from the sound',
}


def write_card(config: Mapping[str, Any], repo: str) -> str:
  """Returns the text of README.md: what it is, its licence, and its limits.

  Nothing is measured here, so nothing is said of quality.

  Args:
    config: of `weights.load_config`.
    repo: 'user/name'.
  """
  found = {
    name: str(how.get('licence') or 'not stated')
    for name, how in config['phases'].items()
  }
  size = config['resolution']
  lines = ['---', *_header(set(found.values())), '---', '', f'# {repo}', '']
  lines += [
    'Talking heads from one portrait and a recording of speech: weights of',
    'Microscope (Microscope Dynamics Compression Framework) for `mdcf_jax`.',
    '',
    '```python',
    'import mdcf_jax',
    '',
    f"pipe = mdcf_jax.Pipeline.from_pretrained('{repo}')",
    "pipe('portrait.png', 'speech.wav').save('talk.mp4')",
    '```',
    '',
    f'Pictures of {size} x {size} pixels at 25 frames a second; the sound is '
    f'heard as `{config["audio_encoder"]}`.',
  ]
  if config['audio_encoder'] != 'mel':
    lines.append('The weights of that encoder are not in this repository.')
  lines += ['', '| file | what | trained | licence |', '|---|---|---|---|']
  for name, how in config['phases'].items():
    cells = f'{name}.safetensors', _WHAT.get(name, name), _trained(how)
    lines.append(f'| {" | ".join((*cells, found[name]))} |')
  return '\n'.join([*lines, '', *_LIMITS]) + '\n'


_LIMITS = (
  '## Limits',
  '',
  'This page is made from `config.json` and measures nothing: how good the',
  'videos are is not said here. One face, cut to a square, speaks; hands,',
  'shoulders and what lies behind the head are not modelled. Where a licence',
  'is "not stated", ask whoever trained it before you use it.',
  '',
  '## Misuse',
  '',
  'A talking head of a person who did not agree is not a use of this model.',
  'Say of every generated video that it is generated. Videos of `mdcf_jax`',
  'carry an invisible mark and a label that say so; `mdcf detect` finds them.',
)


def _header(found: set[str]) -> list[str]:
  """Lines that the Hub reads: licence, library, tags."""
  name = found.pop() if len(found) == 1 else ''
  known = _LICENCES.get(name.strip().lower())
  lines = [f'license: {known or "other"}']
  if not known:
    lines += ['license_name: see-below']
  return [
    *lines,
    'library_name: mdcf_jax',
    'tags:',
    *(f'- {tag}' for tag in ('jax', 'flax', 'talking-head', 'audio-to-video')),
  ]


def _trained(how: Mapping[str, Any]) -> str:
  if 'converted' in how:
    return f'converted from {how["converted"]}'
  return f'{how["steps"]} steps' if 'steps' in how else 'not stated'
