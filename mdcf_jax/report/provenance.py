"""By what rules, networks, versions and machine the scores were made."""

from collections.abc import Mapping, Sequence
from typing import Any

from mdcf_jax.pages import markup
from mdcf_jax.pages.markup import escape, number, plural
from mdcf_jax.report.systems import System


def to_html(systems: Sequence[System]) -> str:
  """Protocol, weights, versions, hardware, and what went wrong."""
  first = systems[0]
  protocol = {k: v for k, v in first.protocol.items() if k not in _APART}
  parts = [
    '<p>Two numbers of one name compare only if the protocol’s hash is '
    'equal. Papers have protocols of their own: their numbers do not compare '
    'with these.</p>',
    '<h3>Protocol</h3>',
    _list({'name': first.protocol['name'], 'hash': first.protocol['hash']}),
    f'<details><summary>All of it</summary>{_list(protocol)}</details>',
  ]
  alike: dict[str, list[str]] = {}
  for system in systems:
    name = f'<bdi>{escape(system.name)}</bdi>'
    alike.setdefault(_system(system), []).append(name)
  for block, names in alike.items():
    parts.append(f'<h3>{", ".join(names)}</h3>{block}')
  return ''.join(parts)


_APART = ('name', 'hash')


def _system(system: System) -> str:
  about: dict[str, Any] = {
    side: f'{plural(counts["clips"], "clip")}, '
    f'{plural(counts["frames"], "frame")}'
    for side, counts in (
      ('true clips', system.sets['real']),
      ('generated clips', system.sets['fake']),
    )
  }
  about |= {f'network {k}': _network(v) for k, v in system.weights.items()}
  about['versions'] = ', '.join(f'{k} {v}' for k, v in system.versions.items())
  about['hardware'] = '; '.join(system.hardware) or 'not told'
  parts = [_list(about)]
  if system.failed:
    items = ''.join(
      f'<li><span class="name">{escape(clip)}</span>: {escape(reason)}</li>'
      for clip, reason in system.failed.items()
    )
    parts.append(
      f'<p>{number(len(system.failed))} could not be read:</p><ul>{items}</ul>'
    )
  if system.skipped:
    parts.append('<p>Metrics that were not computed:</p>')
    parts.append(_list(system.skipped))
  if system.no_score:
    reasons = {k: '; '.join(v) for k, v in system.no_score.items()}
    parts.append(
      '<details><summary>Scores that some clips lack, and why</summary>'
      f'{_list(reasons)}</details>'
    )
  return ''.join(parts)


def _network(about: Any) -> str:
  """sha256 or version first, then all else that is told."""
  if not isinstance(about, Mapping):
    return str(about)
  return '; '.join(
    f'{k} {_flat(about[k])}'
    for k in sorted(about, key=lambda k: (k not in ('sha256', 'version'), k))
    if about[k]
  )


def _flat(value: Any) -> str:
  if isinstance(value, Mapping):
    return ', '.join(f'{k}: {_flat(v)}' for k, v in value.items())
  if isinstance(value, (list, tuple)):
    return ', '.join(map(_flat, value))
  return str(value)


def _list(about: Mapping[str, Any]) -> str:
  items = ''.join(
    f'<dt>{escape(key)}</dt><dd>{escape(_flat(value)) or markup.NONE}</dd>'
    for key, value in about.items()
  )
  return f'<dl class="settings">{items}</dl>'
