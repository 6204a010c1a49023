"""Trains the bundled `mini` model on, from the weights that are there.

  python scripts/train_bundled.py --realset ../shared/realset --minutes 60

FDE (its regions, then its flow, then all of it), LMAE, diffusion (what sound
tells of openings, then all else) and PBNet one after the other, each in a
process of its own, then packed to `<workdir>/packed` and measured on the val
split beside the bundled weights. `--replace` puts the new ones in their place
if they are better. Run the same command again and it goes on where it stopped.
"""

import argparse
import dataclasses
import json
import logging
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # It need not be installed.

from mdcf_jax import weights  # noqa: E402
from mdcf_jax.training import checkpoint  # noqa: E402

BUNDLED = ROOT / 'mdcf_jax' / 'bundled'


@dataclasses.dataclass(frozen=True)
class Stage:
  """One run.

  Attributes:
    name: of its folder; that of a phase's last stage is the phase's.
    phase: what it trains.
    settings: of the config, beside the variant's.
    follows: the stage whose weights it starts from; '': the bundled ones.
    pictures: whether it looks at any; else it needs no latents either.
  """

  name: str
  phase: str
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  follows: str = ''
  pictures: bool = True


# What openings are learnt from, and what pictures are drawn of on the way.
HEARD = (
  *('audio_emb', 'opening', 'frame_mask', 'pose', 'blink', 'face_box'),
  *('source', 'source_pose', 'source_blink', 'source_opening'),
  'source_landmarks',
)
# Finding guide points takes a tenth of an FDE step, and the flow can learn from
# the points themselves at the same time; both then meet in the whole.
STAGES = (
  Stage(
    'fde-regions',
    'fde',
    {
      'loss.l1_weight': 0.0,
      'loss.perceptual_weight': 0.0,
      'batch_size': 16,
      'data.min_zoom': 0.6,
      'data.color_jitter': 0.3,
    },
  ),
  Stage(
    'fde-flow',
    'fde',
    {'loss.teacher_forcing': True, 'loss.landmark_weight': 0.0},
    follows='fde-regions',
  ),
  Stage('fde', 'fde', {'optimizer.learning_rate': 5e-4}, follows='fde-flow'),
  Stage('lmae', 'lmae'),
  # How far a mouth opens is found soon, in longer windows than a denoiser can
  # afford, and forgotten again for what is learnt by heart.
  Stage(
    'diffusion-sound',
    'diffusion',
    {
      'loss.noise_weight': 0.0,
      'loss.opening_weight': 1.0,
      'batch_size': 32,
      'total_steps': 600,
      'optimizer.schedule': 'cosine',
      'ema_decay': 0.98,
      'calibration_batches': 0,
      'data.num_frames': 64,
      'data.keys': HEARD,
    },
    pictures=False,
  ),
  Stage(
    'diffusion',
    'diffusion',
    {
      'loss.opening_weight': 0.0,
      'optimizer.frozen': ('opening_predictor',),
      'batch_size': 8,
      'data.num_frames': 16,
    },
    follows='diffusion-sound',
  ),
  Stage('pbnet', 'pbnet'),
)
NAMES = tuple(stage.name for stage in STAGES)
PHASES = ('fde', 'lmae', 'diffusion', 'pbnet')
VARIANTS = dict(mini='mini,256', tiny='tiny')
# Numbers that must not get worse, and by how much they may: (key of the
# report, sign of better, tolerance).
GUARDED = (
  ('psnr_fde', +1, 0.05),
  ('psnr_lmae', +1, 0.05),
  ('noise_mse', -1, 0.005),
  ('mouth_true', +1, 0.05),
)
MAX_BYTES = 20_000_000
LICENCE = 'research only, see MODEL_CARD.md'

logger = logging.getLogger('train_bundled')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--realset',
    type=pathlib.Path,
    default=ROOT.parent / 'shared' / 'realset',
    help='folder of clips with a manifest.csv (file, identity, split)',
  )
  parser.add_argument(
    '--data', type=pathlib.Path, help='prepared dataset; made if not there'
  )
  parser.add_argument(
    '--workdir', type=pathlib.Path, default=ROOT / 'runs' / 'bundled'
  )
  parser.add_argument('--stages', default=','.join(NAMES))
  parser.add_argument(
    '--size',
    default='mini',
    choices=VARIANTS,
    help='tiny only tries this script out',
  )
  parser.add_argument(
    '--minutes',
    default='60',
    help='of each stage: one number, or fde-flow=90,lmae=30,diffusion=60',
  )
  parser.add_argument(
    '--steps', type=int, help='of each stage, at most; default: by time only'
  )
  parser.add_argument(
    '--config',
    action='append',
    default=[],
    metavar='STAGE:KEY=VALUE',
    help='override of a stage, as in diffusion:batch_size=4',
  )
  parser.add_argument(
    '--evaluate',
    default='--max_clips 30',
    help='arguments for evaluate_bundled.py; empty: no evaluation',
  )
  parser.add_argument(
    '--replace',
    action='store_true',
    help='replace the bundled weights if the new ones are better',
  )
  args = parser.parse_args(argv)
  args.stages = [name for name in args.stages.split(',') if name]
  unknown = set(args.stages) - set(NAMES)
  if unknown:
    parser.error(f'unknown stages {sorted(unknown)}; there are {NAMES}')
  args.data = args.data or args.workdir / 'data'
  try:
    args.minutes = parse_minutes(args.minutes)
  except ValueError as error:
    parser.error(str(error))
  return args


def parse_minutes(text: str) -> dict[str, float]:
  """`'60'` or `'fde=90,lmae=30'` to minutes per stage; 0 skips a stage."""
  if '=' not in text:
    return dict.fromkeys(NAMES, float(text))
  minutes = dict.fromkeys(NAMES, 0.0)
  for part in text.split(','):
    name, _, value = part.partition('=')
    if name not in NAMES:
      raise ValueError(f'--minutes: unknown stage {name!r}')
    minutes[name] = float(value)
  return minutes


def call(*command: object, timeout: float | None = None) -> None:
  """Runs a command in the root; after `timeout` seconds asks it to stop.

  SIGTERM makes training save and exit with 0; a process that is killed
  otherwise stops this script.
  """
  command = [str(part) for part in command]
  logger.info('%s', ' '.join(command))
  process = subprocess.Popen(command, cwd=ROOT)
  try:
    code = process.wait(timeout)
  except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGTERM)
    code = process.wait()
  except KeyboardInterrupt:
    process.send_signal(signal.SIGTERM)
    process.wait()
    raise
  if code:
    raise SystemExit(f'{command[1]} ended with code {code}')


def prepare(args: argparse.Namespace) -> None:
  """Makes the dataset of the realset unless it is there."""
  if any(args.data.rglob('dataset_info.json')):
    return
  manifest = args.realset / 'manifest.csv'
  if not manifest.is_file():
    raise SystemExit(f'{manifest}: not there; give --realset or --data')
  args.data.parent.mkdir(parents=True, exist_ok=True)
  call(
    *(sys.executable, '-m', 'mdcf_jax.cli.main', 'prepare'),
    *('--manifest', manifest, '--output', args.data),
    *('--crop', 'none'),  # They are finished crops.
  )


def has_weights(folder: pathlib.Path, phase: str) -> bool:
  return (folder / f'{phase}.safetensors').is_file()


def upstream(args: argparse.Namespace, phase: str) -> pathlib.Path:
  """Folder of a frozen phase: this run's if it was trained, else bundled."""
  trained = args.workdir / phase
  return trained if checkpoint.is_run(trained) else BUNDLED


def train(args: argparse.Namespace, stage: Stage) -> None:
  """One stage: resumes its run, or starts it from weights that are there."""
  flags = {'data.dir': args.data}
  if stage.follows and checkpoint.is_run(args.workdir / stage.follows):
    flags['init_from.weights'] = args.workdir / stage.follows
  elif args.size == 'mini' and has_weights(BUNDLED, stage.phase):
    flags['init_from.weights'] = BUNDLED
  frozen = {'lmae': ('fde',), 'diffusion': ('fde', 'lmae')}
  frozen = frozen.get(stage.phase, ())
  for name in frozen:
    flags[f'init_from.{name}'] = upstream(args, name)
  if stage.phase == 'diffusion' and stage.pictures:
    # Latents are no use to other weights than those that made them.
    digest = weights.fingerprint(
      [checkpoint.load_frozen(upstream(args, name), name) for name in frozen]
    )
    flags['data.cache_latents'] = True
    flags['data.latents'] = args.workdir / f'latents-{digest}'
  if stage.phase == 'diffusion':
    flags['model.denoiser.opening'] = True  # `tiny` does without elsewhere.
  flags |= stage.settings
  if args.steps:
    flags['total_steps'] = min(args.steps, flags.get('total_steps', args.steps))
  for override in args.config:
    name, _, setting = override.partition(':')
    if name == stage.name:
      key, _, value = setting.partition('=')
      flags[key] = value
  call(
    *(sys.executable, 'train.py'),
    f'--config=configs/{stage.phase}.py:{VARIANTS[args.size]}',
    f'--workdir={args.workdir / stage.name}',
    *(f'--config.{key}={value}' for key, value in flags.items()),
    timeout=60 * args.minutes[stage.name],
  )


def pack(args: argparse.Namespace) -> pathlib.Path:
  """Packs the runs; phases without a run come from the bundled folder."""
  packed = args.workdir / 'packed'
  shutil.rmtree(packed, ignore_errors=True)
  trained = [name for name in PHASES if checkpoint.is_run(args.workdir / name)]
  call(
    *(sys.executable, '-m', 'mdcf_jax.cli.main', 'pack'),
    *('--runs', args.workdir, '--output', packed),
    *('--phases', ','.join(trained), '--licence', LICENCE),
  )
  kept = [
    name
    for name in PHASES
    if name not in trained and has_weights(BUNDLED, name)
  ]
  if kept and args.size == 'mini':
    keep_bundled(packed, kept)
  return packed


def keep_bundled(packed: pathlib.Path, names: list[str]) -> None:
  """Copies phases that were not trained here, and what config.json says."""
  old, new = weights.load_config(BUNDLED), weights.load_config(packed)
  for name in names:
    shutil.copy2(BUNDLED / f'{name}.safetensors', packed)
  for key in ('model', 'phases'):
    new[key] = old[key] | new[key]
  weights.save_config(packed, new)


def evaluate(args: argparse.Namespace, folder: pathlib.Path, name: str) -> dict:
  """Measures a folder of weights on the val split of the realset."""
  report = args.workdir / f'{name}.json'
  call(
    *(sys.executable, ROOT / 'scripts' / 'evaluate_bundled.py'),
    *('--weights', folder, '--realset', args.realset, '--output', report),
    *args.evaluate.split(),
  )
  return json.loads(report.read_text())


def is_better(new: dict, old: dict) -> bool:
  """Whether one guarded number improved and none got worse.

  Args:
    new, old: reports of evaluate_bundled.py; a number that one of them lacks
      is not compared.
  """
  gains = []
  for key, sign, tolerance in GUARDED:
    if key in new['means'] and key in old['means']:
      gain = sign * (new['means'][key] - old['means'][key])
      logger.info('%s: %+.4f (better is positive)', key, gain)
      gains.append(gain / tolerance)
  return bool(gains) and min(gains) > -1 and max(gains) > 1


def replace(packed: pathlib.Path) -> None:
  """Puts the packed files into the package."""
  size = sum(path.stat().st_size for path in packed.iterdir())
  if size > MAX_BYTES:
    raise SystemExit(f'{packed}: {size} bytes; the bundle may have {MAX_BYTES}')
  BUNDLED.mkdir(exist_ok=True)
  for path in packed.iterdir():
    shutil.copy2(path, BUNDLED / path.name)
  logger.info('%s replaced: %.1f MB', BUNDLED, size / 1e6)


def main(argv: list[str] | None = None) -> None:
  # Libraries speak up from warnings on.
  logging.basicConfig(level=logging.WARNING, format='%(asctime)s %(message)s')
  logger.setLevel(logging.INFO)
  args = parse_args(argv)
  args.workdir = args.workdir.absolute()
  args.data, args.realset = args.data.absolute(), args.realset.absolute()
  args.workdir.mkdir(parents=True, exist_ok=True)
  prepare(args)
  for stage in STAGES:
    if stage.name in args.stages and args.minutes[stage.name] > 0:
      train(args, stage)
  packed = pack(args)
  if not args.evaluate:
    return
  new = evaluate(args, packed, 'new')
  first = args.size != 'mini' or not all(
    has_weights(BUNDLED, phase) for phase in PHASES
  )
  better = first or is_better(new, evaluate(args, BUNDLED, 'bundled'))
  logger.info('%s: %s', packed, 'better' if better else 'not better')
  if args.replace and better and args.size == 'mini':
    replace(packed)


if __name__ == '__main__':
  main()
