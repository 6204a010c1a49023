"""Pictures of motion, as figure 5 of the paper has them.

Each is of the two frames between which the true clip changes most: the frame,
the flow to the next one in colours, and a net whose knots are moved by the
flow, so that one sees whether neighbours move together.
"""

import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mdcf_jax import visualize
from mdcf_jax.errors import InputError
from mdcf_jax.metrics import flow_smoothness, optical_flow
from mdcf_jax.pages import clips
from mdcf_jax.pages.markup import escape, number
from mdcf_jax.report.clips import Chosen, loudest_moment

logger = logging.getLogger(__name__)

STEP = 8  # Pixels between knots of the net.
LIKE = 6.0  # The longest movement of a true knot is drawn this many pixels.
_CLIPS = 3

# Frames `[2, H, W, 3]` uint8 to flow `[H, W, 2]` in pixels.
Estimator = Callable[[np.ndarray], np.ndarray]


def to_html(
  chosen: Sequence[Chosen],
  true: Mapping[str, pathlib.Path],
  fakes: Mapping[str, Mapping[str, pathlib.Path]],
  estimator: tuple[str, Estimator],
  *,
  size: int,
  seconds: float,
) -> str:
  """Pictures of a few clips, true and generated.

  Args:
    chosen: clips, of which some are taken.
    true, fakes: files, as of `clips.to_html`.
    estimator: its name, and what it does.
    size: pixels of a side.
    seconds: of a clip that are looked at.
  """
  name, estimate = estimator
  parts = []
  for clip in _some(chosen):
    files = {'true': true[clip.name]}
    files |= {
      who: some[clip.name] for who, some in fakes.items() if clip.name in some
    }
    try:
      parts.append(_clip(clip, files, estimate, size, seconds))
    except InputError as error:
      logger.warning('%s: no flow is drawn: %s', clip.name, error)
  if not parts:
    return '<p class="none">Not computed: no clip has two frames.</p>'
  return (
    f'<p>Flow by {escape(name)}, between the two frames where the true clip '
    'changes most. Colour is the direction (see the wheel) and strength of the '
    'movement, alike in a row. In the net below, knots are moved by the flow, '
    'enlarged alike. Compare with the true net: one that is much smoother is '
    'too stiff, one with more spikes jitters.</p>'
    f'{_wheel()}{"".join(parts)}'
  )


def _some(chosen: Sequence[Chosen]) -> list[Chosen]:
  """The worst, the best, and one from the middle."""
  if len(chosen) <= _CLIPS:
    return list(chosen)
  best = next((i for i, clip in enumerate(chosen) if clip.place == 'best'), 1)
  return [chosen[i] for i in sorted({0, best, len(chosen) - 1})]


def _clip(clip, files, estimate, size, seconds) -> str:
  frames = {
    who: clips.read(path, size, seconds)[0] for who, path in files.items()
  }
  length = min(map(len, frames.values()))
  if length < 2:
    raise InputError('it has one frame')
  moment = loudest_moment(frames['true'][:length])
  flows = {who: estimate(x[moment : moment + 2]) for who, x in frames.items()}
  longest = np.linalg.norm(flows['true'], axis=-1)
  scale = max(float(np.quantile(longest, 0.995)), 0.5)
  columns = [
    _column(who, frames[who][moment], flow, scale)
    for who, flow in flows.items()
  ]
  return (
    f'<h3><span class="name">{escape(clip.name)}</span> <small>'
    f'{escape(clip.heading)}, {number(moment / clips.FPS, 2)} s</small></h3>'
    f'<div class="flows" style="--panels:{len(columns)}">{"".join(columns)}'
    '</div>'
  )


def _column(who: str, frame: np.ndarray, flow: np.ndarray, scale: float) -> str:
  picture = clips.picture_uri(frame)
  colours = clips.picture_uri(visualize.flow_to_color(flow, scale), 'PNG')
  roughness = float(flow_smoothness.flow_smoothness(flow))
  title = f'{who}: frame, flow in colours, net moved by the flow'
  return (
    f'<figure><img src="{picture}" alt="{escape(who)}: frame">'
    f'<img src="{colours}" alt="{escape(who)}: flow as colours">'
    f'{_net(flow, LIKE / scale, title)}<figcaption><bdi>{escape(who)}</bdi> '
    f'<small>motion roughness {number(roughness, 4)}</small></figcaption>'
    '</figure>'
  )


def _net(flow: np.ndarray, gain: float, title: str) -> str:
  """Rows and columns of knots, moved by the flow, as lines."""
  height, width = flow.shape[:2]
  y, x = np.mgrid[STEP // 2 : height : STEP, STEP // 2 : width : STEP]
  moved = np.stack([x, y], -1) + np.clip(gain * flow[y, x], -3 * LIKE, 3 * LIKE)
  lines = [*moved, *moved.swapaxes(0, 1)]
  path = ''.join(
    'M' + 'L'.join(f'{a:.1f} {b:.1f}' for a, b in line) for line in lines
  )
  return (
    f'<svg class="net" viewBox="0 0 {width} {height}" role="img"><title>'
    f'{escape(title)}</title><path d="{path}"/></svg>'
  )


def _wheel(size: int = 96) -> str:
  """The colours of all directions."""
  axis = np.linspace(-1, 1, size)
  flow = np.stack(np.meshgrid(axis, axis), -1)
  picture = visualize.flow_to_color(flow, 1.0)
  picture[np.linalg.norm(flow, axis=-1) > 1] = 255
  return (
    f'<figure class="wheel"><img src="{clips.picture_uri(picture, "PNG")}" '
    'alt="The colour of each direction" width="72" height="72"><figcaption>'
    'Red moves right, yellow down, cyan left, violet up; white stands still.'
    '</figcaption></figure>'
  )


def find_estimator(networks, protocol) -> tuple[str, Estimator] | str:
  """RAFT if its weights are there, else Farneback's; else why there is none.

  Args:
    networks: of `evaluation.networks`.
    protocol: of the metrics.
  """

  def raft(frames: np.ndarray) -> np.ndarray:
    return optical_flow.raft_flow(
      networks.variables('raft'), frames, iterations=protocol.flow_iterations
    ).fields[0]

  def farneback(frames: np.ndarray) -> np.ndarray:
    return optical_flow.farneback_flow(frames).fields[0]

  reasons = []
  for need, name, estimate in (
    ('raft', 'RAFT (small)', raft),
    ('opencv', 'Farnebäck’s estimator', farneback),
  ):
    try:
      networks.describe(need)
    except InputError as error:
      reasons.append(str(error))
    else:
      return name, estimate
  return '; '.join(reasons)
