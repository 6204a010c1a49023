"""The drawn head of `synthetic`: geometry, painting, exact flow.

The scene lives in (x, y) in [-1, 1] of the image, y downwards, -1 and 1 at the
image's outer edges. Painted over one another: background, body, hair and face.
The face is an ellipse whose inside is a turned ball, so that yaw and pitch
slide the features over it and hide one side. Lids and lips stretch the skin
above and below them and show what lies behind: eyeballs and the mouth's inside.
"""

import dataclasses
from typing import Any

import numpy as np

BACKGROUND, BODY, HAIR, FACE, EYES, MOUTH = range(6)
PIXELS_AT_ONCE = 1 << 16  # Arrays of this size stay in a CPU's cache.
EDGE = 1.5  # Pixels beside an edge show two things, so they have no flow.

# Places on the ball, a face from -1 (top) to 1 (chin).
BROW_Y, EYE_Y, NOSE_Y, NOSE_BASE_Y, MOUTH_Y, JAW_Y = (
  -0.4,
  -0.14,
  0.14,
  0.25,
  0.52,
  0.92,
)
EYE_X, EYE_WIDTH, LOWER_LID = 0.42, 0.19, 0.045
LIFT, DROP = 0.05, 0.22  # Of upper and lower lip in a wide open mouth.


@dataclasses.dataclass(frozen=True)
class Identity:
  """What one head has for life; colours are `[3]` in [0, 1]."""

  skin: np.ndarray
  hair: np.ndarray
  lips: np.ndarray
  iris: np.ndarray
  shirt: np.ndarray
  wall: np.ndarray  # `[2, 3]`, above and below.
  width: float  # Of the face, over its height.
  mouth_width: float  # Half, on the ball.
  hairline: float  # Height on the ball.
  waves: np.ndarray  # `[n, 4]`: two frequencies, phase, strength of freckles.
  pitch_hz: float  # Of the voice.


@dataclasses.dataclass(frozen=True)
class State:
  """What changes from frame to frame; the leading axis T is shared.

  Attributes:
    pose: `[T, 6]`: yaw, pitch, roll in degrees, x, y, s, as in FaceTrack.
    blink: `[T, 2]` aspect ratio of the person's left and right eye.
    mouth: `[T]` opening in [0, 1].
  """

  pose: np.ndarray
  blink: np.ndarray
  mouth: np.ndarray

  def __getitem__(self, frames: Any) -> 'State':
    """The state of some frames; an integer keeps the axis."""
    if isinstance(frames, int):
      frames = [frames]
    return State(self.pose[frames], self.blink[frames], self.mouth[frames])


def render(head: Identity, state: State, resolution: int) -> np.ndarray:
  """Paints uint8 `[T, R, R, 3]`, with smooth edges at any resolution."""
  step = max(1, PIXELS_AT_ONCE // resolution**2)
  pieces = [
    _paint(head, state[slice(t, t + step)], resolution)
    for t in range(0, len(state.mouth), step)
  ]
  return np.concatenate(pieces)


def flow(
  head: Identity, source: State, driving: State, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
  """Exact backward flow: where in the source each driving pixel comes from.

  Args:
    head: whose.
    source, driving: states of T frames each, or of one.
    resolution: R.

  Returns:
    (grid, visible): `[T, R, R, 2]` float32 (x, y) in [-1, 1], corner
    convention (-1 and 1 are the centres of the corner pixels), and bool
    `[T, R, R]`, False where the source does not show the point, and within
    EDGE pixels of an outline, where a pixel shows two things.
  """
  here = _locate(head, driving, *_pixels(resolution), resolution)
  x, y, front = _project(head, source, here)
  # Looking back is the test of visibility: the same thing must be there.
  there = _locate(head, source, x, y, resolution)
  visible = front & (there['layer'] == here['layer'])
  visible &= (here['depth'] > EDGE) & (there['depth'] > EDGE)
  visible &= np.maximum(np.abs(x), np.abs(y)) < 1 - 1 / resolution
  grid = np.stack(np.broadcast_arrays(x, y), axis=-1)
  return np.float32(grid * (resolution / (resolution - 1))), visible


def landmarks(head: Identity, state: State) -> np.ndarray:
  """The guide points `[T, 8, 2]` in [0, 1] of the image."""
  mouth, zero = state.mouth, np.zeros_like(state.mouth)
  lid = [
    EYE_Y + LOWER_LID - 2 * _eye_height(head, state.blink[:, eye])
    for eye in (1, 0)
  ]
  x = [zero, zero, zero - head.mouth_width, zero + head.mouth_width]
  x += [zero, zero - EYE_X, zero + EYE_X, zero]
  y = [MOUTH_Y - LIFT * mouth, MOUTH_Y + DROP * mouth, MOUTH_Y + zero]
  y += [MOUTH_Y + zero, 0.97 + zero, lid[0], lid[1], NOSE_Y + zero]
  x, y = np.stack(x, 1)[:, :, None], np.stack(y, 1)[:, :, None]
  z = np.sqrt(1 - x**2 - y**2)
  x, y, _ = _turn(state, x, y, z)
  x, y = _to_image(state, x * head.width, y)
  return np.float32(np.concatenate([x, y], axis=-1) / 2 + 0.5)


def _pixels(resolution: int) -> tuple[np.ndarray, np.ndarray]:
  """Centres x `[1, 1, R]` and y `[1, R, 1]` of the pixels in the scene."""
  line = np.float32((2 * np.arange(resolution) + 1) / resolution - 1)
  return line[None, None, :], line[None, :, None]


def _per_frame(values: np.ndarray) -> np.ndarray:
  return np.asarray(values, np.float32)[:, None, None]


def _to_face(state: State, x, y):
  """Scene to the upright face of half height 1."""
  _, _, roll, x0, y0, s = (_per_frame(v) for v in state.pose.T)
  roll, x, y = np.deg2rad(roll), x - x0, y - y0
  cos, sin = np.cos(roll) * np.exp(-s), np.sin(roll) * np.exp(-s)
  return cos * x - sin * y, sin * x + cos * y


def _to_image(state: State, u, v):
  """The inverse of `_to_face`; positive roll is counter-clockwise."""
  _, _, roll, x0, y0, s = (_per_frame(v) for v in state.pose.T)
  roll = np.deg2rad(roll)
  cos, sin = np.cos(roll) * np.exp(s), np.sin(roll) * np.exp(s)
  return cos * u + sin * v + x0, -sin * u + cos * v + y0


def _turn(state: State, x, y, z):
  """Turns points of the ball by pitch, then yaw; z looks at the camera."""
  yaw, pitch = (np.deg2rad(_per_frame(v)) for v in state.pose.T[:2])
  y, z = (
    np.cos(pitch) * y - np.sin(pitch) * z,
    np.sin(pitch) * y + (np.cos(pitch) * z),
  )
  return (
    np.cos(yaw) * x + np.sin(yaw) * z,
    y,
    np.cos(yaw) * z - np.sin(yaw) * x,
  )


def _turn_back(state: State, x, y, z):
  yaw, pitch = (np.deg2rad(_per_frame(v)) for v in state.pose.T[:2])
  x, z = np.cos(yaw) * x - np.sin(yaw) * z, np.sin(yaw) * x + np.cos(yaw) * z
  return (
    x,
    np.cos(pitch) * y + np.sin(pitch) * z,
    np.cos(pitch) * z - np.sin(pitch) * y,
  )


def _eye_height(head: Identity, ratio):
  """Half the opening that gives an aspect ratio, in units of the ball."""
  return ratio * EYE_WIDTH * head.width


def _locate(
  head: Identity, state: State, x: np.ndarray, y: np.ndarray, resolution: int
) -> dict[str, np.ndarray]:
  """Finds what is seen at points of the scene.

  Args:
    head, state: who, and how in T frames.
    x, y: broadcast to `[T, H, W]`.
    resolution: R; distances are in pixels of an R x R picture.

  Returns:
    Arrays `[T, H, W]`: `body`, `hair`, `face`, `eyes`, `mouth`, distances
    inside the outlines in pixels, negative outside; `layer`, the uppermost
    one; `depth`, the distance to the nearest outline that is seen; (`u`, `v`)
    on what is flat: the wall, the body, or the plane of the face; (`x`, `y`,
    `z`) on the ball at rest, and `skin_y`, where the skin there would be with
    mouth and eyes shut.
  """
  u, v = _to_face(state, x, y)
  pixels = np.exp(_per_frame(state.pose[:, 5])) * np.float32(resolution / 2)
  radius = np.hypot(u / head.width, v)
  face = (1 - radius) * head.width
  hair = np.hypot(u / (1.17 * head.width), (v + 0.14) / 1.1)
  hair = (1 - hair) * head.width
  body_x, body_y = _to_body(state, x, y)
  neck = np.minimum(0.2 - np.abs(body_x), body_y - 0.1)
  shoulders = (1 - np.hypot(body_x / 0.85, (body_y - 1.1) / 0.6)) * 0.6
  body = np.maximum(neck, shoulders) * np.float32(resolution / 2)

  # Just outside the ellipse, smooth edges still need a colour.
  inside = 1 / np.maximum(radius, 1)
  ball_x, ball_y = u / head.width * inside, v * inside
  ball_z = np.sqrt(np.maximum(1 - ball_x**2 - ball_y**2, 0))
  point = _turn_back(state, ball_x, ball_y, ball_z)
  skin_y, eyes, mouth = _relax(head, state, *point)
  seen = dict(
    body=body,
    hair=hair * pixels,
    face=face * pixels,
    eyes=np.minimum(eyes, face) * pixels,
    mouth=np.minimum(mouth, face) * pixels,
  )
  layer, depth = _uppermost(seen)
  for index, place in ((BACKGROUND, (x, y)), (BODY, (body_x, body_y))):
    u, v = (np.where(layer == index, a, b) for a, b in zip(place, (u, v)))
  x, y, z = point
  return seen | dict(
    layer=layer, depth=depth, u=u, v=v, x=x, y=y, z=z, skin_y=skin_y
  )


def _uppermost(seen: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Which layer is on top, and how far the nearest outline in view is."""
  distance = seen['body']
  layer, depth = np.zeros(distance.shape, np.int8), -distance
  for index, distance in enumerate(seen.values(), start=BODY):
    layer = np.where(distance > 0, np.int8(index), layer)
    # Below the uppermost layer, only the outlines above it are seen.
    below = np.minimum(depth, -distance)
    depth = np.where(distance > 0, distance, below)
  return layer, depth


def _to_body(state: State, x, y):
  """Scene to the body, which follows half of the head's shift."""
  x0, y0 = (_per_frame(v) for v in state.pose.T[3:5])
  return x - x0 / 2, y - y0 / 2


def _openings(head: Identity, state: State, x):
  """Outlines of eye and mouth at `x` of the ball.

  Returns:
    (eye, lid, lower lid, lips, upper lip, lower lip): heights `[T, H, W]` of
    the lids and lips, and `eye`, `lips`: 1 in the middle, 0 at the corners and
    negative beyond.
  """
  ratio = np.where(
    x > 0, _per_frame(state.blink[:, 0]), _per_frame(state.blink[:, 1])
  )
  eye = 1 - np.square((np.abs(x) - EYE_X) / EYE_WIDTH)
  low = EYE_Y + LOWER_LID * eye
  lid = low - 2 * _eye_height(head, ratio) * eye
  lips = 1 - np.square(x / head.mouth_width)
  opening = _per_frame(state.mouth) * lips
  return eye, lid, low, lips, MOUTH_Y - LIFT * opening, MOUTH_Y + DROP * opening


def _relax(head: Identity, state: State, x, y, z):
  """Takes the stretch out of the skin; the inverse of `_stretch`.

  Returns:
    (skin_y, eyes, mouth): the height of this skin with eyes and mouth shut;
    distances inside the openings, negative outside.
  """
  eye, lid, low, lips, top, bottom = _openings(head, state, x)
  eyes = np.minimum(np.minimum(y - lid, low - y), eye * EYE_WIDTH / 2)
  mouth = np.minimum(np.minimum(y - top, bottom - y), lips * head.mouth_width)
  eyes, mouth = (np.where(z > 0, d, -1) for d in (eyes, mouth))

  skin_y = _move(y, BROW_Y, lid, low, (eye > 0) & (z > 0))
  inside = (lips > 0) & (z > 0)
  skin_y = _move(skin_y, NOSE_BASE_Y, top, MOUTH_Y, inside)
  return _move(skin_y, JAW_Y, bottom, MOUTH_Y, inside), eyes, mouth


def _stretch(head: Identity, state: State, x, skin_y, z):
  """Where skin lies on the ball with the eyes and mouth of `state`."""
  eye, lid, low, lips, top, bottom = _openings(head, state, x)
  inside = (lips > 0) & (z > 0)
  y = _move(skin_y, JAW_Y, MOUTH_Y, bottom, inside)
  # Above the lips, where the first move changed nothing.
  y = np.where(
    skin_y < MOUTH_Y, _move(skin_y, NOSE_BASE_Y, MOUTH_Y, top, inside), y
  )
  return _move(y, BROW_Y, low, lid, (eye > 0) & (z > 0))


def _move(y, fixed, edge, new_edge, where):
  """Scales heights between `fixed` and `edge` so that `edge` meets the new."""
  moved = fixed + (y - fixed) * ((new_edge - fixed) / (edge - fixed))
  between = ((y - fixed) * (edge - fixed) > 0) & (
    np.abs(y - fixed) <= np.abs(edge - fixed)
  )
  return np.where(where & between, moved, y)


def _project(head: Identity, state: State, seen: dict[str, np.ndarray]):
  """Where in another state the points that `_locate` found are.

  Returns:
    (x, y, front): positions in the scene, and whether they face the camera.
  """
  layer = seen['layer']
  skin = _stretch(head, state, seen['x'], seen['skin_y'], seen['z'])
  ball_y = np.where(layer == FACE, skin, seen['y'])
  # Skin slides along the ball.
  ball_z = np.sqrt(np.maximum(1 - seen['x'] ** 2 - ball_y**2, 0))
  ball_z = np.where(seen['z'] < 0, -ball_z, ball_z)
  ball_x, ball_y, ball_z = _turn(state, seen['x'], ball_y, ball_z)
  on_face = layer >= FACE
  u = np.where(on_face, ball_x * head.width, seen['u'])
  v = np.where(on_face, ball_y, seen['v'])
  x, y = _to_image(state, u, v)
  on_body = layer == BODY
  x = np.where(on_body, u + _per_frame(state.pose[:, 3]) / 2, x)
  y = np.where(on_body, v + _per_frame(state.pose[:, 4]) / 2, y)
  x, y = (np.where(layer == BACKGROUND, a, b) for a, b in ((u, x), (v, y)))
  return x, y, (ball_z > 0.05) | ~on_face


def _paint(head: Identity, state: State, resolution: int) -> np.ndarray:
  """Paints uint8 `[T, R, R, 3]` at once."""
  x, y = _pixels(resolution)
  seen = _locate(head, state, x, y, resolution)
  body_x, body_y = _to_body(state, x, y)
  wall = head.wall[0] + (head.wall[1] - head.wall[0]) * (y[..., None] + 1) / 2
  picture = wall * (1 + 0.08 * np.sin(9 * x + 5 * y))[..., None]
  folds = 1 + 0.1 * np.sin(14 * body_x) * np.cos(6 * body_y)
  shirt = np.where((body_y > 0.55)[..., None], head.shirt, head.skin * 0.8)
  picture = _cover(picture, shirt * folds[..., None], seen['body'])
  u, v = _to_face(state, x, y)
  strands = 1 + 0.15 * np.sin(25 * u + 4 * v)
  picture = _cover(picture, head.hair * strands[..., None], seen['hair'])
  picture = _cover(picture, _skin(head, seen, state, resolution), seen['face'])
  picture = _cover(picture, _eyeball(head, seen), seen['eyes'])
  picture = _cover(picture, _mouth_inside(seen), seen['mouth'])
  return np.uint8(np.clip(picture, 0, 1) * 255 + np.float32(0.5))


def _cover(picture, color, distance):
  """Lays a colour over the picture where the distance is positive."""
  share = np.clip(distance + np.float32(0.5), 0, 1)[..., None]
  return picture + share * (color - picture)


def _soft(distance, blur):
  return np.clip(distance / blur + np.float32(0.5), 0, 1)[..., None]


def _skin(head: Identity, seen, state: State, resolution: int):
  """Colours of the skin: shade, freckles, brows, nose, lips, hair in front."""
  x, y, z = seen['x'], seen['skin_y'], seen['z']
  # One pixel on the ball, the softest edge that does not alias.
  blur = _per_frame(np.exp(-state.pose[:, 5])) * np.float32(2 / resolution)
  blur = np.maximum(blur, np.float32(0.02))
  shade = 0.72 + 0.28 * z
  for fx, fy, phase, strength in head.waves:
    shade = shade + strength * np.sin(fx * x + fy * y + phase)
  nose = np.square(x / 0.11) + np.square((y - NOSE_Y) / 0.2)
  shade = shade + 0.12 * np.exp(-nose)
  color = head.skin * shade[..., None]
  nostril = np.hypot(np.abs(x) - 0.07, (y - 0.21) * 1.3)
  color = color * (1 - 0.5 * _soft(0.035 - nostril, blur))
  brow = 0.045 - np.abs(y - BROW_Y + 0.06 - 0.3 * np.square(np.abs(x) - 0.4))
  brow = np.minimum(brow, 0.2 - np.abs(np.abs(x) - 0.42))
  color = color + _soft(brow, blur) * (head.hair * 0.7 - color)
  lips = 1 - np.square(x / head.mouth_width)
  lips = 0.085 * lips - np.abs(y - MOUTH_Y - 0.01)
  lips = np.where(z > 0, lips, -1)
  color = color + _soft(lips, blur) * (head.lips * shade[..., None] - color)
  fringe = head.hairline + 0.25 * np.square(x) - y
  fringe = np.maximum(fringe, -0.15 - z)
  return color + _soft(fringe, blur) * (head.hair - color)


def _eyeball(head: Identity, seen):
  """White, iris and pupil; both eyes look ahead."""
  x, y = np.abs(seen['x']) - EYE_X, seen['y'] - EYE_Y
  distance = np.hypot(x * head.width, y + 0.01)
  color = np.float32(0.92) * np.ones((*distance.shape, 1), np.float32)
  color = color + _soft(0.062 - distance, 0.02) * (head.iris - color)
  return color * (1 - _soft(0.026 - distance, 0.02))


def _mouth_inside(seen):
  """Dark, with the upper teeth."""
  dark, teeth = np.float32([0.25, 0.06, 0.07]), np.float32([0.9, 0.88, 0.82])
  row = np.minimum(MOUTH_Y + 0.03 - seen['y'], 0.2 - np.abs(seen['x']))
  return dark + _soft(row, 0.02) * (teeth - dark)
