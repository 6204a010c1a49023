"""`mdcf prepare`: a folder of videos becomes a dataset to train on.

  mdcf prepare --videos my-videos --output my-dataset

Each video is one unit of work: a worker process reads it at 25 fps, finds the
face and stores a record in `<output>.work`, and the records become the dataset
when all are done. A second run continues where the first one stopped, and does
a video anew that is another one by then.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import fcntl
import functools
import itertools
import json
import logging
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdcf_jax import speech
from mdcf_jax.data.clips import Clip, assign_splits, find_clips, read_manifest
from mdcf_jax.errors import InputError

logger = logging.getLogger(__name__)

MIN_FRAMES = 10  # Shorter clips have no motion to learn from.
MAX_FRAMES = 500  # Longer videos become several records of 20 s.
MIN_DETECTED = 0.5  # Of the frames; below that it is no talking head.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    '--videos', metavar='DIR', help='searched recursively for videos'
  )
  parser.add_argument(
    '--output', required=True, metavar='DIR', help='the new dataset'
  )
  parser.add_argument(
    '--manifest',
    metavar='FILE',
    help='CSV with columns file (relative to the CSV), identity, split; '
    'only these files are taken',
  )
  parser.add_argument('--resolution', type=int, default=256)
  parser.add_argument(
    '--workers', type=int, default=os.cpu_count() or 1, help='processes'
  )
  parser.add_argument(
    '--val_fraction',
    type=float,
    default=0.1,
    help='part of the identities kept for validation (without a manifest)',
  )
  parser.add_argument('--seed', type=int, default=0, help='of that split')
  parser.add_argument(
    '--hubert',
    metavar='PATH',
    help='hubert.safetensors, or a folder with it: audio features of HuBERT '
    'beside log-mel; each worker holds the weights',
  )
  parser.add_argument(
    '--face_model', metavar='FILE', help='face_landmarker.task'
  )


def run(args: argparse.Namespace) -> int:
  """Prepares the dataset; returns the exit code."""
  from mdcf_jax.data import builder

  _check_arguments(args)
  given = pathlib.Path(args.manifest or args.videos)
  output = pathlib.Path(args.output).resolve()
  clips = read_manifest(given) if args.manifest else find_clips(given)
  if not clips:
    raise InputError(f'{given}: there are no videos in it')
  with _work_folder(
    output, args.resolution, speech.describe(args.hubert)
  ) as work:
    results = _prepare_all(clips, work / 'clips', args)
    kept = [clip for clip in clips if results[clip.id] is None]
    _write_report(work / 'clips.csv', clips, results)
    if not kept:
      raise InputError(
        f'{given}: none of the {len(clips)} videos can be used; the first: '
        f'{results[clips[0].id]}'
      )
    splits = assign_splits(kept, args.val_fraction, args.seed)
    shutil.rmtree(work / 'dataset', ignore_errors=True)
    paths = {k: _record_paths(v, work / 'clips') for k, v in splits.items()}
    builder.build(paths, work / 'dataset')
    os.replace(work / 'clips.csv', work / 'dataset' / 'clips.csv')
    _publish(work / 'dataset', output)
    shutil.rmtree(work)
  counts = ', '.join(f'{len(c)} {split}' for split, c in splits.items())
  num_left_out = len(clips) - len(kept)
  logger.info('%s: %s clips; %d left out', output, counts, num_left_out)
  return 0


def _check_arguments(args: argparse.Namespace) -> None:
  output = pathlib.Path(args.output)
  if bool(args.manifest) == bool(args.videos):
    raise InputError('give either --videos DIR or --manifest FILE')
  if args.videos and not pathlib.Path(args.videos).is_dir():
    raise InputError(f'{args.videos}: no such folder')
  if not args.output:
    raise InputError('--output is empty; name a folder')
  _check_output(output)
  if not 0 <= args.val_fraction < 1:
    raise InputError(f'--val_fraction {args.val_fraction} is not in [0, 1)')
  if args.resolution < 32 or args.resolution % 32:
    raise InputError(f'--resolution {args.resolution}: not a multiple of 32')
  if args.workers < 1:
    raise InputError(f'--workers {args.workers} is less than 1')


def _check_output(output: pathlib.Path) -> None:
  if output.exists() and (not output.is_dir() or any(output.iterdir())):
    raise InputError(f'{output}: exists and is not an empty folder')


@contextlib.contextmanager
def _work_folder(
  output: pathlib.Path, resolution: int, audio: dict[str, Any]
) -> Iterator[pathlib.Path]:
  """Yields the folder of unfinished work, emptied if made differently.

  It stays for the next run only if there is a clip to continue from.
  """
  work = output.with_name(output.name + '.work')
  settings = json.dumps({'format': 3, 'resolution': resolution} | audio)
  with _locked(work, output):
    _check_output(output)  # Again: another run may just have ended.
    try:
      _clear_unless(settings, work)
    except OSError as error:
      raise InputError(f'{output}: cannot be written ({error})') from error
    try:
      yield work
    finally:
      if not any((work / 'clips').glob('*.json')):
        shutil.rmtree(work, ignore_errors=True)


def _clear_unless(settings: str, work: pathlib.Path) -> None:
  """Removes clips that were prepared with other settings, or unknown ones."""
  stored = work / 'settings.json'
  if _read_json(stored) != json.loads(settings):
    shutil.rmtree(work / 'clips', ignore_errors=True)
    partial = stored.with_suffix('.partial')
    partial.write_text(settings)
    os.replace(partial, stored)
  (work / 'clips').mkdir(exist_ok=True)


def _read_json(path: pathlib.Path) -> Any:
  """What a file says; None if it is absent or was not written to its end."""
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return None


@contextlib.contextmanager
def _locked(work: pathlib.Path, output: pathlib.Path) -> Iterator[None]:
  """Makes the folder `work`, and keeps other runs out of it until they end.

  The system lifts the lock when this process is gone, whatever ended it. Where
  the file system has no locks there is none.
  """
  if work.is_symlink():
    raise InputError(f'{work} is a link; it must be a folder or absent')
  with contextlib.ExitStack() as stack:
    try:
      work.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(open(work / 'lock', 'a'))
    except OSError as error:
      raise InputError(f'{output}: cannot be written ({error})') from error
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise InputError(f'{output}: another run makes this dataset') from error
    except OSError as error:
      logger.warning('%s cannot be locked (%s)', work, error)
    yield


def _record_paths(
  clips: list[Clip], folder: pathlib.Path
) -> list[pathlib.Path]:
  """The records of clips, as `prepare_clip` listed them."""
  lists = [json.loads((folder / f'{c.id}.json').read_text()) for c in clips]
  return [folder / f'{name}.npz' for x in lists for name in x['records']]


def _publish(dataset: pathlib.Path, output: pathlib.Path) -> None:
  """Moves a finished dataset to its place."""
  try:
    if not output.exists():
      os.replace(dataset, output)
      return
    # Empty, as checked before, and kept: it may be the working directory. What
    # makes it a dataset comes last.
    for path in sorted(dataset.iterdir(), key=lambda path: path.is_dir()):
      shutil.move(path, output / path.name)
  except OSError as error:
    raise InputError(f'{output}: cannot be written ({error})') from error


def _prepare_all(
  clips: list[Clip], folder: pathlib.Path, args: argparse.Namespace
) -> dict[str, str | None]:
  """Prepares every clip; returns the reason of each that was left out."""
  from tqdm import tqdm

  task = functools.partial(
    prepare_clip,
    folder=folder,
    resolution=args.resolution,
    face_model=args.face_model,
    hubert=args.hubert,
  )
  results: dict[str, str | None] = {}
  # Not fork: JAX, PyAV and MediaPipe have threads that do not survive it.
  pool = concurrent.futures.ProcessPoolExecutor(
    min(args.workers, len(clips)),
    mp_context=multiprocessing.get_context('spawn'),
    initializer=_start_worker,
    initargs=(folder.with_name('workers.log'),),
  )
  bar = functools.partial(
    tqdm, total=len(clips), desc='prepare', unit='clip', leave=False
  )
  try:
    # Without MediaPipe or its model no clip can be prepared: say so once.
    pool.submit(_check_faces, args.face_model).result()
    futures = {pool.submit(task, clip): clip for clip in clips}
    for future in bar(concurrent.futures.as_completed(futures)):
      clip = futures[future]
      results[clip.id] = future.result()
      if results[clip.id]:
        tqdm.write(f'mdcf: left out: {results[clip.id]}', file=sys.stderr)
  except KeyboardInterrupt:
    # What a worker has half done, the next run does anew.
    for worker in multiprocessing.active_children():
      worker.terminate()
    raise
  except concurrent.futures.process.BrokenProcessPool as error:
    raise InputError(
      f'{args.output}: a worker process died (out of memory?); run the same '
      'command again to continue, with fewer --workers'
    ) from error
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
  return results


def _start_worker(log: pathlib.Path) -> None:
  # Ctrl-C reaches the whole group; the parent alone answers it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  # MediaPipe's libraries write notices to stderr, past Python, for each clip.
  with open(log, 'ab') as f:
    os.dup2(f.fileno(), 2)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  """Ends this worker when its parent is gone, were it by `kill -9`.

  Without that it would wait for the next clip for ever: it holds both ends of
  the pipe that clips come through.
  """
  multiprocessing.parent_process().join()
  os._exit(1)


def _check_faces(face_model: str | None) -> None:
  from mdcf_jax.media import faces

  faces.detect_faces(np.zeros((64, 64, 3), np.uint8), face_model)


def prepare_clip(
  clip: Clip,
  folder: pathlib.Path,
  resolution: int,
  face_model: str | None,
  hubert: str | None = None,
) -> str | None:
  """Turns one video into records in `folder`, unless they are there already.

  A video gives `<id>.npz`, a long one also `<id>.1.npz` and so on, and at last
  `<id>.json`, which lists them and says what they were made from.

  Returns:
    None, or in one line why the clip cannot be used.
  """
  from mdcf_jax.data import records

  done, made_from = folder / f'{clip.id}.json', _made_from(clip)
  if (_read_json(done) or {}).get('made_from') == made_from:
    return None
  names, reasons = [], []
  try:
    for piece, frames, *sound in _read_pieces(clip, resolution, hubert):
      name = f'{clip.id}.{piece}' if piece else clip.id
      try:
        record = _to_record(clip, name, frames, *sound, face_model)
      except InputError as error:
        reasons.append(str(error))
        continue
      records.save(folder / f'{name}.npz', record)
      names.append(name)
    if not names:
      return reasons[0]
    partial = done.with_suffix('.partial')
    partial.write_text(json.dumps(dict(made_from=made_from, records=names)))
    os.replace(partial, done)
  except InputError as error:
    return str(error)
  except Exception as error:  # One odd clip must not stop a night's work.
    return f'{clip.path}: {type(error).__name__}: {error}'.splitlines()[0]
  return None


def _made_from(clip: Clip) -> dict[str, Any]:
  """What tells a video from another of its name, or a later version of it."""
  files = (pathlib.Path(clip.path), _sound(clip))
  stats = {str(p.resolve()): p.stat() for p in files if p.exists()}
  return dict(
    identity=clip.identity,
    files={path: [s.st_size, s.st_mtime_ns] for path, s in stats.items()},
  )


def _sound(clip: Clip) -> pathlib.Path:
  """The file that has a clip's sound, if it exists."""
  return pathlib.Path(clip.path).with_suffix('.wav')


def _read_pieces(
  clip: Clip, resolution: int, hubert: str | None
) -> Iterator[tuple[int, np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
  """Yields (number, frames, waveform, features) of a video, piece by piece.

  A record is read as a whole, and so is a piece here: neither may grow with
  the length of the video. Without sound the last two are empty.
  """
  from mdcf_jax.data import records
  from mdcf_jax.media import audio, video

  if _sound(clip).exists():  # Free of the delay that AAC adds.
    waveform = audio.read_audio(_sound(clip))
  else:
    waveform = audio.read_video_audio(clip.path)
  if waveform is None:
    waveform = np.zeros(0, np.float32)
  encode = speech.of_pieces(waveform, hubert)
  stream = video.iter_frames(clip.path, records.FPS, resolution)
  for piece in itertools.count():
    frames = list(itertools.islice(stream, MAX_FRAMES))
    if len(frames) < MIN_FRAMES:
      if piece == 0:
        raise InputError(f'{clip.path}: only {len(frames)} frames')
      return
    start = piece * MAX_FRAMES * records.SAMPLES_PER_FRAME
    length = len(frames) * records.SAMPLES_PER_FRAME
    sound = waveform
    if len(waveform):
      sound = waveform[start : start + length]
      # Sound and picture of a file rarely end at the same instant.
      sound = np.pad(sound, (0, length - len(sound)))
    first = piece * MAX_FRAMES
    features = encode(sound, slice(first, first + len(frames)))
    yield piece, np.stack(frames), sound, features


def _to_record(
  clip: Clip,
  name: str,
  frames: np.ndarray,
  waveform: np.ndarray,
  features: dict[str, np.ndarray],
  face_model: str | None,
) -> dict[str, Any]:
  """Finds the face, compresses the pictures."""
  from mdcf_jax.data import records
  from mdcf_jax.media import faces

  track = faces.track_faces(frames, model_path=face_model, name=clip.path)
  detected = np.asarray(track.detected, bool)
  if detected.mean() < MIN_DETECTED:
    raise InputError(
      f'{clip.path}: a face in only {detected.sum()} of {len(frames)} frames'
    )
  waveform = np.nan_to_num(waveform, posinf=0.0, neginf=0.0)
  samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
  return {
    **records.unknown_quality(),
    **features,
    'frames': [records.encode_jpeg(frame) for frame in frames],
    'waveform': samples,
    'pose': np.asarray(track.pose, np.float32),
    'blink': np.asarray(track.blink, np.float32),
    'face_box': np.asarray(track.face_box, np.float32),
    'mouth_box': np.asarray(track.mouth_box, np.float32),
    'landmarks': np.asarray(faces.guide_points(track.landmarks), np.float32),
    'detected': detected,
    'id': name,
    'identity': clip.identity,
    'source': clip.source,
    'fps': records.FPS,
  }


def _write_report(
  path: pathlib.Path, clips: list[Clip], results: dict[str, str | None]
) -> None:
  """One row per clip: what became of it."""
  with open(
    path, 'w', newline='', encoding='utf-8', errors='backslashreplace'
  ) as f:
    writer = csv.writer(f)
    writer.writerow(('id', 'file', 'identity', 'left_out'))
    for clip in clips:
      reason = results[clip.id] or ''
      writer.writerow((clip.id, clip.source, clip.identity, reason))
