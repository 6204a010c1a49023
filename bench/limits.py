"""The limits that the paper states, and those of the portrait, in numbers.

  python bench/limits.py --realset=../shared/realset --output=/tmp/limits
  python bench/limits.py --output=/tmp/limits --minutes=1.5  # goes on next time

Val clips with sound, the first of each person first, are seen in other ways:
  off-centre   shifted by 10, 20, 30 % of the side in a picture of 16:9
  uncropped    the face takes 0.45 and 0.3 of the height of such a picture
  hat          one is drawn that moves with the head: nobody of the set wears
               any, so this is made up; the crown's flow is compared with where
               the face's landmarks bring it
  detail       energy above 0.125 cycles a pixel over that of the true frames,
               and how much lips, brows and lids move above 3 Hz

The surroundings of a clip are its mirror image, blurred. With the crop `none`
the model takes the centred square, with `auto` the square around the face that
MediaPipe finds. Results are brought back to where the clip lies in the picture
and measured there, by the same true pixels for all views.

Systems: `still` is the first frame, `resized` the true frames through the crop
and back, `reconstruction` the true motion through FDE and LMAE, `generated` the
diffusion's from the first frame and the sound, with a pose of its own, so that
it has no PSNR. The mouth is the correlation of its opening with the true one,
and the spread of that over the true one. 100 dB are equal pictures; PSNR lost
is the reconstruction's against that of the clip as it is.

`limits.json` in the folder of `--output` keeps what was measured; pictures are
not written. Intervals are 95 % bootstrap intervals over clips. The defaults
take about 20 minutes of one processor core.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from bench import limit_pictures as pictures  # noqa: E402
from bench import limit_scores as scores  # noqa: E402
from bench import limit_tables as tables  # noqa: E402
from mdcf_jax import inputs  # noqa: E402
from mdcf_jax.cli import reconstruct  # noqa: E402
from mdcf_jax.errors import InputError, NoFace  # noqa: E402
from mdcf_jax.hub.fetch import BUNDLED  # noqa: E402
from mdcf_jax.media import faces, image, landmarker  # noqa: E402
from mdcf_jax.pipeline import Pipeline  # noqa: E402
from scripts import score_bundled  # noqa: E402

View = pictures.View
PLAIN, HAT = tables.PLAIN, tables.HAT
VIEWS = {
  PLAIN: View(),
  HAT: View(hat=True),
  'shift 10 %': View(shift=0.1),
  'shift 20 %': View(shift=0.2),
  'shift 30 %': View(shift=0.3),
  'share 0.45': View(share=0.45),
  'share 0.3': View(share=0.3),
  f'{PLAIN}, auto': View(crop='auto'),
  'shift 30 %, auto': View(shift=0.3, crop='auto'),
  'share 0.45, auto': View(share=0.45, crop='auto'),
  'share 0.3, auto': View(share=0.3, crop='auto'),
}
WHOLE = (VIEWS[PLAIN], VIEWS[HAT])  # Nothing is cut: motion compares.
STILL_FACES = ('still', 'resized')  # The face is where it is, or never moves.
MIN_FRAMES = 16
NOISE = 2.0  # Grey levels: what a still camera's picture trembles by.


class Bench:
  """Measures views of clips.

  Args:
    args: of `parse_args`.
  """

  def __init__(self, args: argparse.Namespace):
    self._args = args
    self._clips: dict[pathlib.Path, Any] = {}
    self._pipe = Pipeline.from_pretrained(args.weights)
    self._rebuild = reconstruct.make_reconstruct(
      self._pipe.fde, self._pipe.lmae
    )

  def _read(self, path: pathlib.Path):
    """Frames, sound and face of a clip, which are kept."""
    if path in self._clips:
      return self._clips[path]
    frames, waveform = score_bundled.read(
      path, self._pipe.resolution, self._args.seconds
    )
    if len(frames) < MIN_FRAMES:
      raise InputError(f'{path}: has less than {MIN_FRAMES} frames')
    track = faces.track_faces(frames, name=str(path), max_faces=1)
    self._clips[path] = frames, waveform, track
    return self._clips[path]

  def __call__(self, path: pathlib.Path, view: View) -> dict[str, Any]:
    """Scores of a view of a clip, by system.

    Raises:
      InputError: the clip cannot be used, or has no face.
    """
    truth, waveform, true_track = self._read(path)
    with_hat, mask = pictures.with_hat(truth, true_track.landmarks)
    truth = with_hat if view.hat else truth
    found = {}
    for name, frames in self._make(truth, waveform, view).items():
      if name in STILL_FACES:
        found[name] = scores.of_pixels(frames, truth, true_track)
        continue
      try:
        track = faces.track_faces(frames, max_faces=1)
      except NoFace:
        found[name] = {}
        continue
      found[name] = scores.of_face(frames, track, truth, true_track)
      if view in WHOLE:
        found[name] |= scores.of_motion(frames, track, mask)
    if view in WHOLE:
      found['true'] = scores.of_motion(truth, true_track, mask)
      found['noise'] = self._noise(truth)
    return found

  def _make(
    self, truth: np.ndarray, waveform: np.ndarray, view: View
  ) -> dict[str, np.ndarray]:
    """Frames `[T, R, R, 3]` of all systems, where the clip lies."""
    wide, place = truth, (0, 0)
    if (view.shift, view.share, view.crop) != (0.0, pictures.AS_IT_IS, 'none'):
      wide, place = pictures.canvas(truth, view)
    size = self._pipe.resolution
    source = inputs.read_source(wide[0], view.crop, size)
    cut = np.stack([image.cut_square(x, source.square, size) for x in wide])
    video = self._pipe(
      wide[0],
      (waveform, score_bundled.SAMPLE_RATE),
      seed=self._args.seed,
      steps=self._args.steps,
      crop=view.crop,
    )
    made = dict(
      still=np.repeat(cut[:1], len(cut), 0),
      resized=cut,
      reconstruction=self._rebuild(self._pipe.variables, cut, 0).lmae,
      generated=video.frames,
    )
    return {
      name: pictures.back(frames, source.square, place, truth[0])
      for name, frames in made.items()
    }

  def _noise(self, truth: np.ndarray) -> dict[str, float]:
    """What the landmarker makes of a still picture with a little noise."""
    noise = np.random.default_rng(0).normal(0, NOISE, truth.shape)
    frames = np.clip(np.rint(truth[:1] + noise), 0, 255).astype(np.uint8)
    try:
      return scores.trembling(faces.track_faces(frames, max_faces=1).landmarks)
    except NoFace:
      return {}


class Kept:
  """What was measured, in a file.

  Args:
    path: JSON.
    settings: of the measurement.

  Raises:
    InputError: the file is of other settings.
  """

  def __init__(self, path: pathlib.Path, settings: Mapping[str, Any]):
    self._path, self._settings = path, dict(settings)
    self.found: dict[str, dict[str, Any]] = {}  # Clip -> view -> scores.
    if path.is_file():
      data = json.loads(path.read_text(encoding='utf-8'))
      for name, value in self._settings.items():
        if data['settings'].get(name) != value:
          raise InputError(
            f'{path} has {name} {data["settings"].get(name)}, not {value}; '
            'give another --output'
          )
      self.found = data['clips']

  def add(self, clip: str, view: str, found: Mapping[str, Any]) -> None:
    """Keeps one more result; the file is whole at any moment."""
    self.found.setdefault(clip, {})[view] = found
    data = dict(settings=self._settings, clips=self.found)
    partial = self._path.with_name(f'.{self._path.name}.partial')
    partial.write_text(json.dumps(data, indent=1), encoding='utf-8')
    partial.replace(self._path)


def measure(args: argparse.Namespace, kept: Kept) -> int:
  """Measures what is not there yet; returns how much is left.

  Raises:
    InputError: a clip cannot be used, or weights or MediaPipe are missing.
  """
  missing = [
    (path, name)
    for name in args.views
    for path in score_bundled.choose(args.realset, args.clips)
    if name not in kept.found.get(path.stem, {})
  ]
  if not missing:
    return 0
  landmarker.find_model()  # Before any work.
  bench, start = Bench(args), time.monotonic()
  for done, (path, name) in enumerate(missing):
    late = args.minutes and time.monotonic() - start > 60 * args.minutes
    if late and done:  # Each call gets on.
      return len(missing) - done
    began = time.monotonic()
    kept.add(path.stem, name, bench(path, VIEWS[name]))
    took = time.monotonic() - began
    print(f'{path.stem}, {name}: {took:.1f} s', file=sys.stderr, flush=True)
  return 0


def digest(weights: str) -> str:
  """Of the files of the weights, so that others are not taken for them."""
  folder, total = BUNDLED.get(weights, pathlib.Path(weights)), hashlib.sha256()
  for path in sorted(folder.glob('*.safetensors')):
    total.update(path.read_bytes())
  return total.hexdigest()[:12]


def parse_args(argv: Iterable[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--output', type=pathlib.Path, required=True, help='a folder')
  add(
    '--realset',
    type=pathlib.Path,
    default=ROOT.parent / 'shared' / 'realset',
    help='folder of clips with a manifest.csv (file, identity, split, '
    'has_audio)',
  )
  add('--weights', default='mini', help="folder, or 'mini', the bundled one")
  add('--clips', type=int, default=6, help='at most')
  add('--seconds', type=float, default=2.0, help='of each clip, at most')
  add('--steps', type=int, default=20, help='of the sampler')
  add('--seed', type=int, default=0)
  add('--views', nargs='+', choices=VIEWS, default=list(VIEWS))
  add('--minutes', type=float, help='stop then; the next call goes on')
  args = parser.parse_args(argv)
  if not (args.realset / 'manifest.csv').is_file():
    parser.error(f'--realset {args.realset}: has no manifest.csv')
  if args.clips < 1 or args.seconds * score_bundled.FPS < MIN_FRAMES:
    parser.error(f'at least one clip of {MIN_FRAMES} frames')
  args.error = parser.error
  return args


def main(argv: Iterable[str] | None = None) -> int:
  args = parse_args(argv)
  args.output.mkdir(parents=True, exist_ok=True)
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update(
      'jax_compilation_cache_dir', str(args.output / 'programs')
    )
  settings = dict(
    weights=digest(args.weights),
    **{name: getattr(args, name) for name in ('seconds', 'steps', 'seed')},
  )
  try:
    kept = Kept(args.output / 'limits.json', settings)
    left = measure(args, kept)
  except InputError as error:
    args.error(str(error))
  tables.show(kept.found, args.clips, settings)
  if left:
    print(f'\n{left} views of clips are left: the same command goes on')
  return 0


if __name__ == '__main__':
  sys.exit(main())
