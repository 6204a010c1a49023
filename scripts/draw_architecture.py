"""Draws docs/architecture.svg: what goes through which network.

  python scripts/draw_architecture.py

Shapes are those that the full-size modules give at 256 and 512 pixels, traced
without allocating anything. One file for light and dark pages: it has its own
background and follows the reader's preference.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from configs import diffusion  # noqa: E402
from mdcf_jax.data.records import AUDIO_ENCODERS  # noqa: E402
from mdcf_jax.phases import packed  # noqa: E402
from mdcf_jax.stages import Options, Stages  # noqa: E402

RESOLUTIONS = (256, 512)
FRAMES = 16  # Stands for N.
WIDTH, HEIGHT = 1300, 900
BOX, STEP, LEFT = 184, 212, 28  # Width of a box, of a column; first column.
ROWS = dict(picture=92, motion=210, latent=328, sound=446, pose=564)
TALL = 82
STYLE = """
  svg { --page: #f6f8fa; --ink: #1f2933; --soft: #52606d; --line: #7b8794;
    --data: #ffffff; --net: #00695c; --on-net: #ffffff; --card: #ffffff; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #1b1f27; --ink: #e4e7eb; --soft: #a9b4c0; --line: #7b8794;
      --data: #262c36; --net: #00796b; --on-net: #ffffff; --card: #232934; }
  }
  text { font: 15px system-ui, -apple-system, 'Segoe UI', sans-serif;
    fill: var(--ink); text-anchor: middle; }
  .page { fill: var(--page); }
  .data { fill: var(--data); stroke: var(--line); }
  .net { fill: var(--net); }
  .card { fill: var(--card); stroke: var(--line); }
  .on { fill: var(--on-net); }
  .name { font-weight: 600; }
  .head { font-size: 20px; font-weight: 700; text-anchor: start; }
  .left { text-anchor: start; }
  .soft { fill: var(--soft); }
  .small { font-size: 14px; }
  .arrow { fill: none; stroke: var(--line); stroke-width: 2;
    marker-end: url(#tip); }
  .bracket { fill: none; stroke: var(--net); stroke-width: 2; }
  #tip path { fill: var(--line); }
"""


def shapes(resolution: int) -> dict[str, tuple[int, ...]]:
  """Shapes of what a generation with `base` passes on, of N = FRAMES frames."""
  config = diffusion.get_config(f'base,{resolution}')
  described = dict(
    model=config.model.to_dict(),
    resolution=resolution,
    audio_encoder='mel',
    phases={name: {} for name in packed.NAMES},
  )
  phases = packed.build_phases(described)
  width = AUDIO_ENCODERS['mel']
  variables = packed.variable_shapes(phases, described, width)
  known = {
    name: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    for name, shape in dict(
      audio_emb=(FRAMES, width),
      frame_mask=(FRAMES,),
      source_pose=(6,),
      source_blink=(2,),
      face_box=(4,),
    ).items()
  }
  calls = Stages(phases, resolution).calls(
    variables, known, resolution, Options()
  )
  made = {
    name: jax.eval_shape(call.function, *call.args)
    for name, call in calls.items()
    if name != 'diffusion'
  }
  (_, _, _, state), *_ = calls['diffusion'].args[1]
  z = jax.ShapeDtypeStruct(state.xt.shape[1:], jnp.float32)
  dynamics = jax.eval_shape(
    lambda v, z: phases['lmae'].lmae.apply(v, z, method='decode'),
    variables['lmae'],
    z,
  )
  pose, blink = made['motion']
  return dict(
    image=made['frames'].shape[1:],
    features=made['encode'][0][-1].shape[1:],
    pose=pose.shape[1:],
    blink=blink.shape[1:],
    z=z.shape,
    dynamics=dynamics.shape,
    video=(FRAMES, *made['frames'].shape[1:]),
  )


def describe(shape: Sequence[int]) -> str:
  """A shape as text; FRAMES is N."""
  first = 'N' if shape[0] == FRAMES else str(shape[0])
  return ' × '.join([first, *map(str, shape[1:])])


def column(i: float) -> float:
  """Left edge of a column, from 0."""
  return LEFT + i * STEP


def text(x: float, y: float, words: str, style: str = '') -> str:
  return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(words)}</text>'


def box(
  i: float, row: str, lines: Sequence[str], kind: str, width: float = BOX
) -> list[str]:
  """A network (`net`) or what passes between networks (`data`)."""
  x, y = column(i), ROWS[row]
  corner = 8 if kind == 'net' else 20
  parts = [
    f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{TALL}" '
    f'rx="{corner}" class="{kind}"/>'
  ]
  top = y + TALL / 2 - 10 * (len(lines) - 1) + 5
  for n, line in enumerate(lines):
    style = 'name' if n == 0 else 'small' if kind == 'net' else 'soft small'
    style += ' on' if kind == 'net' else ''
    parts.append(text(x + width / 2, top + 20 * n, line, style))
  return parts


def arrow(*points: tuple[float, float]) -> str:
  steps = ' L'.join(f'{x:g} {y:g}' for x, y in points)
  return f'<path d="M{steps}" class="arrow"/>'


def data(i: float, row: str, name: str, found: Sequence[Sequence[int]]):
  """A box with its shapes: one line if they are equal at both sizes."""
  told = [describe(shape) for shape in found]
  if len(set(told)) == 1:
    return box(i, row, [name, told[0]], 'data')
  pairs = zip(RESOLUTIONS, told)
  return box(i, row, [name, *(f'{r}: {t}' for r, t in pairs)], 'data')


def generation(found: Mapping[str, list]) -> list[str]:
  """The upper half: from a portrait and speech to a video."""
  wide = BOX + STEP
  sounds = [
    f'{name}: N × {AUDIO_ENCODERS[encoder]}'
    for name, encoder in (('log-mel', 'mel'), ('HuBERT', 'hubert-large'))
  ]
  return [
    text(LEFT, 48, 'Generation', 'head'),
    text(
      LEFT + 140,
      48,
      'of N frames; shapes at 256 and at 512 pixels, full-size model',
      'left soft',
    ),
    *data(0, 'picture', 'portrait', found['image']),
    *box(1, 'picture', ['FDE encoder', 'once for all frames'], 'net'),
    *data(2, 'picture', 'E(portrait)', found['features']),
    *box(
      4,
      'picture',
      ['FDE decoder', 'warps E by f, hides', 'by m, paints'],
      'net',
    ),
    *data(5, 'picture', 'video', found['video']),
    *data(4, 'motion', 'motion [f; m]', found['dynamics']),
    *data(0, 'latent', 'noise', found['z']),
    *box(
      1,
      'latent',
      ['Diffusion', '3-D U-Net over all frames at once', '20 steps'],
      'net',
      wide,
    ),
    *data(3, 'latent', 'latents z', found['z']),
    *box(4, 'latent', ['LMAE decoder', 'frame by frame'], 'net'),
    *box(0, 'sound', ['speech', '16 kHz'], 'data'),
    *box(1, 'sound', ['sound, per frame', *sounds], 'data'),
    *box(1, 'pose', ['PBNet', 'invents pose and', 'blinks'], 'net'),
    *box(
      2,
      'pose',
      [
        'pose, blink',
        f'{describe(found["pose"][0])} and',
        describe(found['blink'][0]),
      ],
      'data',
    ),
    *generation_arrows(),
    *compression(found),
  ]


def generation_arrows() -> list[str]:
  """What goes where in the upper half."""

  def middle(row):
    return ROWS[row] + TALL / 2

  def along(i, j, row):
    return arrow((column(i) + BOX, middle(row)), (column(j) - 4, middle(row)))

  def up(i, low, high):
    x = column(i) + BOX / 2
    return arrow((x, ROWS[low]), (x, ROWS[high] + TALL + 4))

  x = column(2) + BOX / 2
  down = (x, ROWS['picture'] + TALL), (x, ROWS['latent'] - 4)
  pbnet = column(1) + BOX / 2
  return [
    *(along(0, 1, 'picture'), along(1, 2, 'picture')),
    *(along(2, 4, 'picture'), along(4, 5, 'picture'), arrow(*down)),
    *(along(0, 1, 'latent'), along(2, 3, 'latent'), along(3, 4, 'latent')),
    *(up(4, 'latent', 'motion'), up(4, 'motion', 'picture')),
    *(along(0, 1, 'sound'), up(1, 'sound', 'latent')),
    arrow((pbnet, ROWS['sound'] + TALL), (pbnet, ROWS['pose'] - 4)),
    *(along(1, 2, 'pose'), up(2, 'pose', 'latent')),
  ]


def compression(found: Mapping[str, list]) -> list[str]:
  """How many numbers a frame has at each stage, and the legend."""
  (height, width, channels), z = found['image'][0], found['z'][0]
  ratio = height * width * channels // (z[1] * z[2] * z[3])
  x, y = column(3), ROWS['sound'] + 22
  sizes = f'{height} × {width} × {channels} / ({describe(z[1:])})'
  return [
    text(x, y, f'{ratio} times fewer numbers', 'name left'),
    text(
      x,
      y + 24,
      f'in z than in the pixels, at either size: {sizes}',
      'left soft',
    ),
    text(x, y + 48, 'f: where each pixel comes from, as flow', 'left soft'),
    text(
      x,
      y + 72,
      'm: 1 where the portrait shows it, 0 where it is to be painted',
      'left soft',
    ),
    f'<rect x="{x:g}" y="{y + 100:g}" width="30" height="22" rx="5" '
    'class="net"/>',
    text(x + 40, y + 116, 'a network', 'left soft'),
    f'<rect x="{x + 140:g}" y="{y + 100:g}" width="30" height="22" rx="11" '
    'class="data"/>',
    text(x + 180, y + 116, 'what passes between networks', 'left soft'),
  ]


CARDS = (
  (
    '1  FDE',
    (
      'two frames of a video',
      'flow, occlusion, picture',
      'nothing',
      'perceptual distance (eq. 5)',
    ),
  ),
  (
    '2  LMAE',
    (
      'motion [f; m] of FDE',
      '[f; m] to z and back',
      'FDE',
      'KL, MSE, and the frames (6-9)',
    ),
  ),
  (
    '3  Diffusion',
    (
      'z of whole clips, sound, pose',
      'noise to z',
      'FDE, LMAE',
      'the noise, mouth more (eq. 10)',
    ),
  ),
  (
    'PBNet',
    (
      'sound, pose, blinks',
      'pose and blinks from sound',
      'nothing',
      'sequences, speed, KL',
    ),
  ),
)


def training() -> list[str]:
  """The lower half: what is trained after what, on what."""
  top, width, gap = 744, 299, 16
  parts = [
    text(LEFT, 688, 'Training', 'head'),
    text(LEFT + 112, 688, 'one job after the other', 'left soft'),
  ]
  for n, (name, values) in enumerate(CARDS):
    x = LEFT + n * (width + gap)
    parts.append(
      f'<rect x="{x}" y="{top}" width="{width}" height="128" rx="8" '
      'class="card"/>'
    )
    parts.append(text(x + 14, top + 27, name, 'name left'))
    for i, (label, value) in enumerate(
      zip(('sees', 'learns', 'frozen', 'loss'), values)
    ):
      y = top + 52 + 21 * i
      parts.append(text(x + 14, y, label, 'left soft small'))
      parts.append(text(x + 62, y, value, 'left small'))
    if 0 < n < 3:
      parts.append(arrow((x - gap, top + 64), (x - 3, top + 64)))
  end = LEFT + 2 * width + gap
  parts.append(f'<path d="M{LEFT} {top - 6} v-8 H{end} v8" class="bracket"/>')
  parts.append(
    text(
      (LEFT + end) / 2,
      top - 24,
      'MDCF: compression in two cascaded phases',
      'name small',
    )
  )
  return parts


def draw() -> str:
  """The drawing as SVG."""
  by_size = [shapes(resolution) for resolution in RESOLUTIONS]
  found = {name: [x[name] for x in by_size] for name in by_size[0]}
  body = '\n'.join([*generation(found), *training()])
  title = 'Architecture of Microscope (MDCF)'
  return f"""<svg xmlns="http://www.w3.org/2000/svg"
  viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">
<title>{title}</title>
<style>{STYLE}</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="8" refY="5"
  markerWidth="7" markerHeight="7" orient="auto-start-reverse">
  <path d="M0 0 L10 5 L0 10 z"/></marker></defs>
<rect width="{WIDTH}" height="{HEIGHT}" rx="12" class="page"/>
{body}
</svg>
"""


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  default = ROOT / 'docs' / 'architecture.svg'
  parser.add_argument('--output', type=pathlib.Path, default=default)
  args = parser.parse_args()
  args.output.write_text(draw(), encoding='utf-8')
  sys.stdout.write(f'{args.output}\n')


if __name__ == '__main__':
  main()
