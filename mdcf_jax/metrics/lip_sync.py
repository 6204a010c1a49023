"""LSE-C and LSE-D: do mouth and sound agree, according to SyncNet?

The procedure of github.com/joonson/syncnet_python (run_pipeline.py and
SyncNetInstance.py), whose numbers Wav2Lip's evaluation (Prajwal et al. 2020,
evaluation/scores_LSE) calls lip-sync error, distance and confidence.

Windows of five frames are compared with the 0.2 s of sound of the same time and
of up to 15 frames before and after. Beyond its ends the sound's embeddings are
zero, so the scores of short clips are drawn towards the length of the picture's
embeddings.

What is not reproduced: the original writes the clip as MPEG-4 with compressed
sound, its frames as JPEG, the crops as XVID, and these as JPEG again; here
pictures and sound are taken as they are. Cuts between shots come from outside.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import face_crops, face_tracks
from mdcf_jax.metrics.mfcc import mfcc, to_int16
from mdcf_jax.metrics.no_score import NoScore, Reason
from mdcf_jax.models.syncnet import NUM_FRAMES, NUM_STEPS, SyncNet

CROPS = ('exact', 'fixed')
SAMPLES_PER_FRAME = 640  # 16 kHz at 25 fps.
STEPS_PER_FRAME = 4  # 10 ms each.
MAX_SHIFT = 15  # Frames, both ways.
SILENCE = 4  # Of 32768; where nothing is louder there is no sound to judge.
PIECE = 200  # Windows whose crops are held at once: 30 MB.
_EPSILON = 1e-6  # That PyTorch adds to each difference of a distance.

# (crops `[T, 224, 224, 3]` uint8 RGB, coefficients `[S, 13]` of `mfcc`, N) to
# embeddings of N windows, two arrays `[N, D]`. Window i is the frames from i to
# i + 4 and the steps from 4 i to 4 i + 19.
Embedder = Callable[[np.ndarray, np.ndarray, int], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class SyncScore:
  """How one face of a clip goes with the sound.

  Attributes:
    confidence: LSE-C, median of `distances` less the smallest; more is better.
    distance: LSE-D, the smallest of `distances`; less is better.
    offset: frames by which the picture is late; a positive offset means that
      the sound comes first, as the public code's "AV offset". 0 is in sync.
    start, end: the frames looked at, `end` excluded.
    num_windows: over how many windows distances are means.
    distances: `[31]`, mean distance to the sound that is k - 15 frames later.
  """

  confidence: float
  distance: float
  offset: int
  start: int
  end: int
  num_windows: int
  distances: np.ndarray


def shift_distances(video: np.ndarray, audio: np.ndarray) -> np.ndarray:
  """Mean distances of pictures to sound, moved against each other.

  Args:
    video, audio: `[N, D]`, embeddings of the same windows, N at least 1.

  Returns:
    `[31]` float64; the k-th compares with the sound k - 15 windows later, with
    zeros where there is none.

  Raises:
    ValueError: the shapes differ, or there are no windows.
  """
  video, audio = (np.asarray(x, np.float64) for x in (video, audio))
  if video.shape != audio.shape or video.ndim != 2 or not len(video):
    raise ValueError(f'embeddings are {video.shape} and {audio.shape}')
  padded = np.pad(audio, ((MAX_SHIFT, MAX_SHIFT), (0, 0)))
  means = [
    np.linalg.norm(video - padded[k : k + len(video)] + _EPSILON, axis=1).mean()
    for k in range(2 * MAX_SHIFT + 1)
  ]
  return np.array(means)


def score_clip(
  frames: Sequence[np.ndarray],
  waveform: np.ndarray,
  boxes: np.ndarray | Sequence[np.ndarray],
  embed: Embedder,
  *,
  crop: str = 'exact',
  shots: Sequence[tuple[int, int]] | None = None,
) -> list[SyncScore] | NoScore:
  """Scores the faces of a clip.

  Args:
    frames: `[T, H, W, 3]` uint8 RGB at 25 fps, or a sequence of pictures.
    waveform: `[samples]` in [-1, 1] at 16 kHz, from the first frame on.
    boxes: faces in pixels, `[T, 4]` (x0, y0, x1, y1) with rows of NaN where
      there is none, or T arrays `[n, 4]`. For 'fixed' also `[4]`: of the true
      clip, say, for both the true and the generated one.
    embed: the network, see `syncnet_embedder`.
    crop: 'exact' follows every face that the public code would score, which
      takes more than 100 frames of it; 'fixed' is one square for the clip,
      around the median box, and takes any length from six frames on.
    shots: of `face_tracks.find_tracks`; for 'exact' only.

  Returns:
    One score for each face, for 'fixed' one; or why there is none.

  Raises:
    InputError: arguments of other shapes or types, values that are not finite,
      or an unknown crop.
  """
  if crop not in CROPS:
    raise InputError(f'crop {crop!r} is none of {list(CROPS)}')
  samples = _check_sound(waveform)
  _check_frames(frames)
  if crop == 'fixed' and np.shape(boxes) == (4,):
    boxes = np.broadcast_to(boxes, (len(frames), 4))
  detections = face_tracks.check_detections(boxes)
  if len(detections) != len(frames):
    raise InputError(f'{len(detections)} boxes for {len(frames)} frames')
  if crop == 'fixed':
    place = face_crops.fixed_place(detections)
    if isinstance(place, NoScore):
      return place
    places = np.broadcast_to(place, (len(frames), 3))
    score = _score_face(frames, samples, 0, places, embed)
    return score if isinstance(score, NoScore) else [score]
  tracks = face_tracks.find_tracks(detections, shots)
  if isinstance(tracks, NoScore):
    return tracks
  scores = [
    _score_face(
      frames, samples, track.start, face_crops.exact_places(track), embed
    )
    for track in tracks
  ]
  return [x for x in scores if isinstance(x, SyncScore)] or scores[0]


def _score_face(frames, samples, start, places, embed) -> SyncScore | NoScore:
  """Scores the face that is at `places` from frame `start` on."""
  end = start + len(places)
  samples = samples[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
  # One window less than there could be, as in the original.
  frames_heard = min(len(places), len(samples) // SAMPLES_PER_FRAME)
  count = frames_heard - NUM_FRAMES
  if count < 1:
    return NoScore(
      Reason.SHORT,
      f'{len(places)} frames and {len(samples)} samples; '
      f'{NUM_FRAMES + 1} frames are needed',
    )
  loudest = int(np.abs(samples.astype(np.int32)).max())
  if loudest < SILENCE:
    return NoScore(Reason.SILENT, f'nothing is above {loudest} of 32768')
  coefficients, embeddings = mfcc(samples), []
  for first in range(0, count, PIECE):
    piece = min(PIECE, count - first)
    last = first + piece + NUM_FRAMES - 1
    crops = face_crops.crop(
      (frames[start + i] for i in range(first, last)), places[first:last]
    )
    if isinstance(crops, NoScore):
      return crops
    heard = coefficients[STEPS_PER_FRAME * first :]
    embeddings.append(embed(crops, heard, piece))
  distances = shift_distances(*map(np.concatenate, zip(*embeddings)))
  if not np.isfinite(distances).all():
    raise InputError('embeddings are not finite; the weights may be damaged')
  best = int(np.argmin(distances))
  return SyncScore(
    confidence=float(np.median(distances) - distances[best]),
    distance=float(distances[best]),
    offset=MAX_SHIFT - best,
    start=start,
    end=end,
    num_windows=count,
    distances=distances,
  )


def _check_frames(frames: Sequence[np.ndarray]) -> None:
  for index in range(len(frames)):
    frame = np.asarray(frames[index])
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
      raise InputError(
        f'frame {index} is {frame.dtype} {frame.shape}, not uint8 [H, W, 3]'
      )
    if not frame.size:
      raise InputError(f'frame {index} has no pixels: {frame.shape}')


def _check_sound(waveform: np.ndarray) -> np.ndarray:
  """The sound as int16."""
  waveform = np.asarray(waveform)
  if waveform.ndim != 1 or waveform.dtype.kind != 'f':
    raise InputError(
      f'sound is {waveform.dtype} {waveform.shape}, not float [samples]'
    )
  if not np.isfinite(waveform).all():
    raise InputError('sound has samples that are not finite')
  return to_int16(waveform)


def syncnet_embedder(
  variables: Mapping[str, Any], batch_size: int = 20
) -> Embedder:
  """Returns SyncNet as `score_clip` wants it.

  The network is compiled once, for batches of one size; the last batch of a
  clip is completed with zeros.

  Args:
    variables: of `SyncNet`, as `convert.syncnet` makes them of public weights.
    batch_size: windows at a time.
  """
  variables = jax.device_put(variables)
  module = SyncNet()

  @jax.jit
  def network(variables, frames, sound):
    frames = frames[..., ::-1].astype(jnp.float32)  # RGB to BGR.
    windows = [frames[i : i + batch_size] for i in range(NUM_FRAMES)]
    return module.apply(variables, jnp.stack(windows, axis=1), sound)

  def embed(crops, coefficients, count):
    starts = STEPS_PER_FRAME * np.arange(count)[:, None]
    sound = coefficients[starts + np.arange(NUM_STEPS)].astype(np.float32)
    parts = []
    for first in range(0, count, batch_size):
      last = min(first + batch_size, count)
      chunk = _complete(
        crops[first : last + NUM_FRAMES - 1], batch_size + NUM_FRAMES - 1
      )
      heard = _complete(sound[first:last], batch_size)
      outputs = network(variables, chunk, heard)
      parts.append([np.asarray(x)[: last - first] for x in outputs])
    return tuple(np.concatenate(x) for x in zip(*parts))

  return embed


def _complete(x: np.ndarray, length: int) -> np.ndarray:
  """`x` with zeros behind it."""
  return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1))
