"""From weights, a portrait and a recording to the frames of a video.

  pipe = Pipeline.from_pretrained('mini')
  video = pipe('me.jpg', 'talk.wav', seed=0)
  video.save('talk.mp4')

Here weights are found, and what is given is read and checked; what follows is
the `generator`'s.
"""

import functools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdcf_jax import driving, inputs, speech, weights
from mdcf_jax.clips import Clip, Video, make_conditions
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.devices import Devices, check_dtype
from mdcf_jax.errors import InputError
from mdcf_jax.generator import Generator, Progress
from mdcf_jax.hub.fetch import find_weights
from mdcf_jax.hub.push import push
from mdcf_jax.media.paste import Paste
from mdcf_jax.models import sizes
from mdcf_jax.phases import packed
from mdcf_jax.stages import Options

NAMES = packed.NAMES


class Pipeline(Generator):
  """Generates talking heads with one set of weights.

  Attributes:
    config: of the weights: sizes of the modules, resolution, how trained.
    origin: 'user/name@commit' of the Hub where they are from there, else ''.
  """

  def __init__(
    self,
    config: dict[str, Any],
    variables: dict[str, Any],
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
    devices: int = 1,
  ):
    """Takes what `weights.load_config` and `weights.load` return.

    Args:
      config, variables: of the weights.
      hubert, dtype, devices: as in `from_pretrained`; HuBERT is read when the
        first sound comes.
    """
    dtype = check_dtype(dtype)
    super().__init__(
      packed.build_phases(config, dtype),
      int(config['resolution']),
      variables,
      dtype,
      Devices(devices),
    )
    self.config = config
    self.origin = ''
    self._hubert = hubert

  @classmethod
  def from_pretrained(
    cls,
    name: str | os.PathLike = 'mini',
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
    devices: int = 1,
    revision: str | None = None,
  ) -> 'Pipeline':
    """Loads weights: 'mini', which comes along, a folder, or of the Hub.

    Args:
      name: 'mini'; a folder; 'user/name' or 'user/name@revision' of the
        Hugging Face Hub, see `hub.fetch`. A folder that exists comes first.
      hubert: `hubert.safetensors` or a folder with it, for weights that were
        trained on its features; by default the file in their own folder.
      dtype: 'float32' or 'bfloat16', to keep parameters and to compute in;
        None is float32 on a CPU, which gains nothing from bfloat16, and else
        bfloat16. Grids, norms and what is summed stay float32.
      devices: that share the frames of a video; each has all weights.
      revision: branch, tag or commit of the Hub's repository.

    Raises:
      InputError: there are no such weights, a file is missing from it, a tensor
        is missing, superfluous or of another shape, dtype is neither, or there
        are fewer devices.
    """
    dtype = check_dtype(dtype)
    found = find_weights(name, revision)
    folder = found.folder
    config = weights.load_config(folder)
    if config['audio_encoder'] not in AUDIO_ENCODERS:
      raise InputError(
        f'{folder}: audio_encoder {config["audio_encoder"]!r} is none of: '
        f'{", ".join(AUDIO_ENCODERS)}'
      )
    if hubert is None and (folder / speech.FILE_NAME).exists():
      hubert = folder
    try:
      shapes = packed.variable_shapes(
        packed.build_phases(config),
        config,
        AUDIO_ENCODERS[config['audio_encoder']],
      )
    # Modules that are given nonsense raise nearly anything.
    except Exception as error:
      raise InputError(
        f'{folder / weights.CONFIG_NAME} describes no model: {error}'
      ) from error
    pipe = cls(
      config,
      {name: weights.load(folder, name, shapes[name]) for name in shapes},
      hubert,
      dtype,
      devices,
    )
    pipe.origin = found.origin
    return pipe

  @functools.cached_property
  def encoder(self) -> speech.AudioFeatures:
    """Of the sound; apart, as pictures alone need none."""
    return speech.open_encoder(self.config['audio_encoder'], self._hubert)

  def save_pretrained(self, folder: str | os.PathLike) -> None:
    """Writes the weights as bfloat16 safetensors, and config.json.

    Without HuBERT, which is not ours.
    """
    for name, variables in self.variables.items():
      weights.save(folder, name, variables)
    weights.save_config(folder, self.config)

  def push_to_hub(self, repo: str, **options: Any) -> str:
    """Uploads what `save_pretrained` writes, and a card, in one commit.

    Args:
      repo: 'user/name'; made when absent, private by default.
      options: private, branch, message; as in `hub.push`.

    Returns:
      'user/name@commit'.

    Raises:
      InputError: the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
      self.save_pretrained(folder)
      return push(folder, repo, **options)

  def __call__(self, image, audio, **options) -> Video:
    """Generates a whole video; arguments and errors are those of `stream`."""
    audio = inputs.read_audio(audio)
    frames = list(self.stream(image, audio, **options))
    return Video(np.stack(frames), *audio)

  def stream(
    self,
    image: Any,
    audio: Any,
    *,
    progress: Progress | None = None,
    **options: Any,
  ) -> Iterator[np.ndarray]:
    """Yields ceil(25 * seconds) frames `[H, W, 3]` uint8, one at a time.

    They are squares of `resolution`, with `paste_back` of the picture's size.

    Everything given is read and checked, and all is compiled, before this
    returns.

    Args:
      image, audio, options: of `prepare`.
      progress: called with (stage, done, total).

    Raises:
      InputError: something given cannot be used.
    """
    self.timings = {}
    (frames,) = self.generate([self.prepare(image, audio, **options)], progress)
    return frames

  def prepare(
    self,
    image: Any,
    audio: Any,
    *,
    seed: int = 0,
    steps: int = 20,
    sampler: str = 'ddim',
    guidance_scale: float = 1.0,
    pose: Any = 'generated',
    blink: Any = 'generated',
    crop: str | tuple[int, int, int, int] = 'auto',
    resolution: int | None = None,
    face: int | None = None,
    pose_from: str | os.PathLike | None = None,
    blink_from: str | os.PathLike | None = None,
    pose_mode: str = 'relative',
    paste_back: bool = False,
  ) -> Clip:
    """Reads and checks everything that a video needs.

    Args:
      image: path, PIL image, or `[H, W, 3]` uint8.
      audio: path, or (samples `[n]` or `[n, channels]`, rate).
      seed: the same seed gives the same video.
      steps: denoising steps; fewer are faster.
      sampler: 'ddim', 'dpm++' or 'ddim-dawn', the one of DAWN's code.
      guidance_scale: above 1 follows the conditions more; twice the work.
      pose: 'generated', 'still', `[N, 6]` or a .npy or .csv file with it.
      blink: 'generated', 'none', `[N, 2]` or a .npy or .csv file with it.
      crop: 'auto' (around the face; a square image stays whole where its face
        is large and in the middle), 'none' (the centre), or (x, y, width,
        height) in pixels of the image.
      resolution: pixels of a side, by default those trained for.
      face: its number from the left, from 1, if there are several.
      pose_from, blink_from: a video to move as, in place of `pose` and `blink`.
      pose_mode: of both; 'relative': the portrait's own, changed as the
        video's; 'absolute': the video's.
      paste_back: frames are the whole picture, with the crop moving in it.

    Raises:
      InputError: something given cannot be used.
    """
    for name in NAMES:
      needed = sizes.has_weights(self.config['model'], name)
      if needed and name not in self.variables:
        raise InputError(f'these weights lack the phase {name!r}')
    multiple = sizes.resolution_multiple(self.config['model'], NAMES)
    resolution = inputs.check_resolution(resolution, self.resolution, multiple)
    inputs.check_sampling(seed, steps, sampler, guidance_scale)
    videos = dict(pose=pose_from, blink=blink_from)
    driving.check(dict(pose=pose, blink=blink), videos, pose_mode)
    objective = self._stages.phases['diffusion'].objective
    if sampler == 'ddim-dawn' and objective != 'noise':
      raise InputError(
        "the sampler 'ddim-dawn' is for a diffusion that predicts noise, and "
        f'this one has the objective {objective!r}: take ddim or dpm++'
      )
    with self._timed('audio') as timing:
      samples, rate = inputs.read_audio(audio)
      total = inputs.num_frames(samples, rate)
      timing.frames += total
      audio_emb = inputs.audio_features(samples, rate, self.encoder)
    with self._timed('image', 1):
      source = inputs.read_source(image, crop, resolution, face)
      paste = Paste(source.picture, source.square) if paste_back else None
    if driving.any_of(videos):
      with self._timed('driving', total):
        found = driving.read(videos, source, pose_mode, total)
      pose, blink = found.get('pose', pose), found.get('blink', blink)
    pose = inputs.read_motion(pose, source.pose, 'still', total, 'pose')
    blink = inputs.read_motion(blink, source.blink, 'none', total, 'blink')
    return Clip(
      total,
      source.image,
      make_conditions(source, audio_emb, pose, blink, self.devices.count),
      seed,
      Options(steps, sampler, float(guidance_scale)),
      paste,
    )
