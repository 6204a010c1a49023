"""Guide points of the face in place of the regions that FDE finds.

Not in the paper, whose regions find themselves from millions of pairs. Before
that they see half of a mouth's opening; flow of the points' own regions has all
of it, and what is learnt from such flow opens the mouth as far as people do.
"""

import jax
import jax.numpy as jnp

from mdcf_jax.errors import InputError
from mdcf_jax.models.fde import FDE
from mdcf_jax.ops import pose

# Spread of the guided regions along and across the line of the eyes, in
# distances of the eyes. None is round: a round region has no axes, and its
# affine motion would turn at random.
_SPREAD = (
  (0.5, 0.12),  # Upper lip.
  (0.5, 0.12),  # Lower lip.
  (0.24, 0.14),  # Corners of the mouth.
  (0.24, 0.14),
  (0.6, 0.3),  # Chin.
  (0.3, 0.14),  # Upper lids.
  (0.3, 0.14),
  (0.25, 0.5),  # Nose.
  (0.9, 0.4),  # Forehead.
  (0.6, 1.0),  # The head as a whole.
)

# How far regions lie below their guide point, in distances of the eyes. The
# inner lips touch in a closed mouth; the lips beside them do not.
_DROP = (-0.1, 0.12, 0, 0, 0, 0, 0, 0, 0, 0)

_UPPER_LIP, _LOWER_LIP, _CHIN, UPPER_LIDS, _FOREHEAD = 0, 1, 4, (5, 6), 8

# Where guide points go as the gap of the lips grows by the height of a face:
# along and across the line of the eyes, in distances of the eyes. Slopes of
# least squares over 678 windows of talk, with the head's pose beside them.
_OPENED = (
  (0.0, -0.8),
  (0.0, 1.76),
  (-0.4, 0.0),
  (0.4, 0.0),
  (0.0, 0.74),
  *((0.0, 0.0),) * 3,
)
_STEP = 0.03  # Half of the opening between the two ends of a difference.


def regions(landmarks: jax.Array) -> dict[str, jax.Array]:
  """Where regions should lie, given guide points of the face.

  A region per guide point, one on the forehead and one for the whole head,
  elongated and turned with the face, so that the affine motion between two of
  them is the roll and the zoom of the head.

  Args:
    landmarks: `[B, 8, 2]` in [0, 1], in the order of `media.faces`.

  Returns:
    shift `[B, 10, 2]` in [-1, 1], covar and affine `[B, 10, 2, 2]`.
  """
  points = 2 * landmarks - 1
  eyes = jnp.mean(points[:, UPPER_LIDS[0] : UPPER_LIDS[1] + 1], axis=1)
  forehead = eyes + 0.5 * (eyes - points[:, _CHIN])
  shift = jnp.concatenate([points, forehead[:, None], eyes[:, None]], axis=1)
  distance, axes = eye_axes(points)
  shift += distance * jnp.array(_DROP)[:, None] * axes[:, None, :, 1]
  spread = jnp.square(distance * jnp.array(_SPREAD))
  covar = pose.einsum('bij,bkj,blj->bkil', axes, spread, axes)
  return dict(shift=shift, covar=covar, affine=pose.principal_axes(covar))


def eye_axes(points: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Distance `[B, 1, 1]` of the eyes in the units of the points `[B, 8, 2]`, at
  least a little, and the axes of the face `[B, 2, 2]`: along their line and
  down from it, as columns."""
  across = points[:, UPPER_LIDS[1]] - points[:, UPPER_LIDS[0]]
  distance = jnp.maximum(jnp.linalg.norm(across, axis=-1), 0.05)[:, None, None]
  x = across / jnp.linalg.norm(across + 1e-6, axis=-1, keepdims=True)
  down = jnp.stack([-x[:, 1], x[:, 0]], axis=-1)
  return distance, jnp.stack([x, down], axis=-1)


def opening(found: dict[str, jax.Array]) -> jax.Array:
  """How far a mouth is open, as far as the regions of the lips see it.

  Args:
    found: of `FDE.regions`, which learnt to lie where `regions` says.

  Returns:
    `[B]`, gap of the inner lips over the height of the face.
  """
  shift = found['shift']

  def distance(a, b):
    return jnp.linalg.norm(shift[:, a] - shift[:, b], axis=-1)

  apart = (_DROP[_LOWER_LIP] - _DROP[_UPPER_LIP]) * distance(*UPPER_LIDS)
  gap = distance(_UPPER_LIP, _LOWER_LIP) - apart
  height = distance(_CHIN, _FOREHEAD)  # Of a face, as it happens.
  return jnp.maximum(gap / jnp.maximum(height, 0.05), 0.0)


def points(found: dict[str, jax.Array]) -> jax.Array:
  """Guide points `[B, 8, 2]` in [0, 1] that `regions` would find there."""
  shift = found['shift'][:, :8]
  across = shift[:, UPPER_LIDS[1]] - shift[:, UPPER_LIDS[0]]
  down = jnp.stack([-across[:, 1], across[:, 0]], axis=-1)
  shift -= jnp.array(_DROP)[:8, None] * down[:, None]
  return (shift + 1) / 2


def check(fde: FDE, setting: str = 'loss.teacher_forcing') -> None:
  """Raises InputError unless `fde` has as many regions as are guided.

  `setting` is what asks for them.
  """
  if fde.num_regions != len(_SPREAD):
    raise InputError(
      f'{setting} guides {len(_SPREAD)} regions, '
      f'model.fde.num_regions is {fde.num_regions}'
    )


def dynamics(
  fde: FDE,
  source: jax.Array,
  source_landmarks: jax.Array,
  driving_landmarks: jax.Array,
  background: jax.Array,
  *,
  train: bool = False,
) -> jax.Array:
  """Dynamics `[B, H/4, W/4, 3]` of a source and the points of a driving frame.

  Args:
    fde: bound to its variables.
    source: `[B, H, W, 3]` in [-1, 1].
    source_landmarks, driving_landmarks: `[B, 8, 2]`, see `regions`.
    background: `[B, 3, 3]`, of `FDE.background_motion`, or at rest.
  """
  guided = (regions(x) for x in (source_landmarks, driving_landmarks))
  return fde.dynamics(source, *guided, background, train=train)['dynamics']


def middle(landmarks: jax.Array) -> jax.Array:
  """Between eyes and chin: `[B, 2]` in the units of `landmarks [B, 8, 2]`."""
  eyes = jnp.mean(landmarks[:, UPPER_LIDS[0] : UPPER_LIDS[1] + 1], axis=1)
  return (eyes + landmarks[:, _CHIN]) / 2


def open_mouth(landmarks: jax.Array, by: float) -> jax.Array:
  """Guide points `[B, 8, 2]` of a mouth open further by `by` face heights."""
  distance, axes = eye_axes(landmarks)
  moves = jnp.einsum('bij,nj->bni', axes, jnp.array(_OPENED))
  return landmarks + by * distance * moves


def opening_dynamics(
  fde: FDE, source: jax.Array, landmarks: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """What becomes of a source whose mouth opens; to be `apply`'s method.

  Args:
    fde, source: as in `dynamics`.
    landmarks: of the source `[B, 8, 2]`.

  Returns:
    its dynamics at rest `[B, H/4, W/4, 3]`, and the change of these when the
    gap of the lips grows by the height of the face, of the same shape.
  """
  still = jnp.broadcast_to(jnp.eye(3), (len(source), 3, 3))
  shut, wide = (
    dynamics(fde, source, landmarks, open_mouth(landmarks, by), still)
    for by in (-_STEP, _STEP)
  )
  return (shut + wide) / 2, (wide - shut) / (2 * _STEP)


def estimate(
  fde: FDE,
  source: jax.Array,
  driving: jax.Array,
  source_landmarks: jax.Array,
  driving_landmarks: jax.Array,
) -> jax.Array:
  """As `FDE.estimate`, with the regions of the points; to be `apply`'s method.

  Args:
    fde, source, source_landmarks, driving_landmarks: as in `dynamics`.
    driving: `[B, H, W, 3]`, which tells of the background.
  """
  background = fde.background_motion(source, driving)
  points = source_landmarks, driving_landmarks
  return dynamics(fde, source, *points, background)
