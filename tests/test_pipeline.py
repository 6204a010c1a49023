"""From weights, a picture and a sound to frames."""

import json
import shutil
import subprocess
import sys

import av
import jax
import numpy as np
import pytest
from PIL import Image

import mdcf_jax
from configs import diffusion
from mdcf_jax import InputError, clips, driving, inputs
from mdcf_jax.cli import pack
from mdcf_jax.clips import bucket_length
from mdcf_jax.media.image import square_around
from mdcf_jax.pipeline import Pipeline
from mdcf_jax.speech import MEL, AudioFeatures
from tests.tiny_model import write_tiny_weights

RATE = 16000


def speech(seconds: float, seed: int = 0) -> np.ndarray:
  """Noise in syllables, `[samples]`."""
  rng = np.random.default_rng(seed)
  count = round(seconds * RATE)
  syllables = np.abs(np.sin(2 * np.pi * 2 * np.arange(count) / RATE))
  return (0.1 * syllables * rng.standard_normal(count)).astype(np.float32)


@pytest.fixture(scope='module')
def pipe(tiny_weights) -> Pipeline:
  return Pipeline.from_pretrained(tiny_weights)


@pytest.fixture(scope='module')
def portrait() -> np.ndarray:
  rng = np.random.default_rng(0)
  small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
  return np.asarray(small.resize((64, 64)))


@pytest.fixture(scope='module')
def video(pipe, portrait) -> clips.Video:
  return pipe(portrait, (speech(0.7), RATE), steps=2)


def test_latents_and_how_they_move(pipe, portrait):
  clip = pipe.prepare(portrait, (speech(0.7), RATE), steps=2)
  seen = {}
  (frames,) = pipe.generate([clip], latents_seen=seen.__setitem__)
  assert not seen  # Nothing is made before it is asked for.
  count = sum(1 for _ in frames)
  assert list(seen) == [0] and len(seen[0]) == count == clip.frames
  dynamics = pipe.dynamics(seen[0])
  assert dynamics.shape == (count, 16, 16, 3) and np.isfinite(dynamics).all()
  occlusion = dynamics[..., 2]
  assert 0 <= occlusion.min() < occlusion.max() <= 1


def test_import_is_cheap():
  """jax, flax and media libraries come with the first use."""
  code = 'import sys, mdcf_jax; print(sorted({"jax", "av"} & set(sys.modules)))'
  output = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert output.stdout.strip() == '[]'
  assert mdcf_jax.Pipeline is Pipeline


def test_frames_are_of_the_sound(video):
  assert video.frames.shape == (18, 64, 64, 3)  # ceil(25 * 0.7).
  assert video.frames.dtype == np.uint8
  assert video.fps == 25


@pytest.mark.parametrize('samples, frames', [(1, 1), (640, 1), (641, 2)])
def test_number_of_frames(samples, frames):
  assert inputs.num_frames(np.zeros((samples, 1)), RATE) == frames


def test_saved_video_has_frames_and_sound(video, tmp_path):
  path = tmp_path / 'saved.mp4'
  video.save(path)
  with av.open(str(path)) as container:
    assert sum(1 for _ in container.decode(video=0)) == len(video.frames)
  with av.open(str(path)) as container:
    assert container.streams.audio[0].codec_context.name == 'aac'


def test_stream_equals_call(pipe, portrait, video):
  frames = list(pipe.stream(portrait, (speech(0.7), RATE), steps=2))
  np.testing.assert_array_equal(np.stack(frames), video.frames)


def test_seed_decides(pipe, portrait, video):
  other = pipe(portrait, (speech(0.7), RATE), steps=2, seed=1)
  assert (other.frames != video.frames).any()


def test_bucket_equals_exact_length(pipe, portrait, video, monkeypatch):
  assert bucket_length(18) != 18
  monkeypatch.setattr(clips, 'bucket_length', lambda frames: frames)
  exact = pipe(portrait, (speech(0.7), RATE), steps=2)
  # Other shapes are summed in another order; rounding to uint8 may flip.
  difference = exact.frames.astype(int) - video.frames
  assert np.abs(difference).max() <= 1


def test_lengths_of_one_bucket_share_programs(pipe, portrait, video):
  before = set(pipe._stages.compiled)
  pipe(portrait, (speech(0.8), RATE), steps=2)
  assert set(pipe._stages.compiled) == before
  assert 'compile' not in pipe.timings
  assert pipe.timings['frames'].frames == 20


def test_buckets_grow_by_a_quarter():
  lengths = sorted({bucket_length(n) for n in range(1, 5000)})
  assert all(bucket_length(n) == n for n in lengths)
  assert len(lengths) < 30
  steps = np.diff(lengths) / lengths[:-1]
  assert steps[2:].max() <= 0.25 + 1e-9 or lengths[2] < 40


def test_saved_weights_are_the_same(pipe, tmp_path):
  """bfloat16 of what came from bfloat16 loses nothing."""
  pipe.save_pretrained(tmp_path / 'copy')
  copy = Pipeline.from_pretrained(tmp_path / 'copy')
  assert copy.config == pipe.config
  jax.tree.map(np.testing.assert_array_equal, copy.variables, pipe.variables)


def test_weights_of_the_auto_encoders_alone(tiny_weights, portrait, tmp_path):
  """Enough to reconstruct, not to generate."""
  config = json.loads((tiny_weights / 'config.json').read_text())
  config['phases'] = {'fde': {}, 'lmae': {}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  for name in config['phases']:
    shutil.copy(tiny_weights / f'{name}.safetensors', tmp_path)
  half = Pipeline.from_pretrained(tmp_path)
  assert half.fde.scale == 4
  with pytest.raises(InputError, match='diffusion'):
    half.stream(portrait, (speech(0.7), RATE))


def test_weights_that_hear_hubert(portrait, tmp_path):
  """It is asked for when there is sound, and then says what it needs."""
  write_tiny_weights(tmp_path, audio_encoder='hubert-base')
  pipe = Pipeline.from_pretrained(tmp_path)
  audio = speech(0.2), RATE
  with pytest.raises(InputError, match='hubert-base need its weights'):
    pipe.stream(portrait, audio)
  elsewhere = Pipeline.from_pretrained(tmp_path, hubert=tmp_path / 'nowhere')
  with pytest.raises(InputError, match='nowhere: no such weights'):
    elsewhere.stream(portrait, audio)

  def encode(waveform, num_frames):
    assert waveform.shape == (3200,)
    return np.full((num_frames, 768), waveform.mean(), np.float32)

  pipe.encoder = AudioFeatures('hubert-base', encode)
  assert pipe(portrait, audio, steps=1).frames.shape == (5, 64, 64, 3)


def test_pose_and_blink_can_be_given(pipe, portrait, video, tmp_path):
  pose = np.tile(np.float32([20, 0, 0, 0, 0.05, -0.5]), (18, 1))
  audio = speech(0.7), RATE
  np.save(tmp_path / 'pose.npy', pose)
  names = 'yaw,pitch,roll,x,y,s\n'
  rows = '\n'.join(','.join(map(str, row)) for row in pose)
  (tmp_path / 'pose.csv').write_text(names + rows)
  options = dict(blink='none', steps=2)
  expected = pipe(portrait, audio, pose=pose, **options).frames
  for given in (pose[:1], tmp_path / 'pose.npy', str(tmp_path / 'pose.csv')):
    found = pipe(portrait, audio, pose=given, **options).frames
    np.testing.assert_array_equal(found, expected)
  still = pipe(portrait, audio, pose='still', **options)
  assert 'motion' not in pipe.timings
  assert (still.frames != expected).any()


def test_progress_ends_at_the_total(pipe, portrait):
  calls = []
  audio = speech(0.7), RATE
  pipe(portrait, audio, steps=2, progress=lambda *call: calls.append(call))
  assert calls[0] == ('diffusion', 0, 2)
  assert ('diffusion', 2, 2) in calls
  assert calls[-1] == ('frames', 18, 18)


def test_images_of_all_kinds(pipe, portrait, video, tmp_path):
  Image.fromarray(portrait).save(tmp_path / 'portrait.png')
  for image in (Image.fromarray(portrait), tmp_path / 'portrait.png'):
    found = pipe(image, (speech(0.7), RATE), steps=2)
    np.testing.assert_array_equal(found.frames, video.frames)


@pytest.mark.parametrize(
  'options, reason',
  [
    (dict(steps=0), 'steps 0'),
    (dict(seed=-1), 'seed -1'),
    (dict(sampler='euler'), 'ddim'),
    (dict(guidance_scale=float('nan')), 'guidance_scale'),
    (dict(guidance_scale=None), 'guidance_scale'),
    (dict(resolution=100), 'multiple of 64'),
    (dict(resolution=64.5), 'whole number'),
    (dict(seed=None), 'whole number'),
    (dict(steps='20'), 'whole number'),
    (dict(crop=(0, 0, 1000, 1000)), 'crop'),
    (dict(crop=np.array([0, 0, 8, np.inf])), 'crop'),
    (dict(pose='no.npy'), 'no such file'),
    (dict(pose='nod'), 'still'),
    (dict(pose=np.zeros((5, 6))), '5 rows'),
    (dict(pose=np.zeros((18, 5))), 'shape'),
    (dict(blink=np.full((18, 2), np.nan)), 'finite'),
  ],
)
def test_options_that_cannot_be_used(pipe, portrait, options, reason):
  with pytest.raises(InputError, match=reason):
    pipe.stream(portrait, (speech(0.7), RATE), **options)


@pytest.mark.parametrize(
  'audio, reason',
  [
    ((np.zeros(0), RATE), 'shape'),
    ((np.full(100, np.nan), RATE), 'finite'),
    ((np.zeros((2, 2, 2)), RATE), 'shape'),
    ((np.zeros(100, complex), RATE), 'complex'),
    ((np.zeros(100), 0), 'rate'),
    ((np.zeros((2, 16000)), RATE), 'samples, channels'),
    (([0, 1, 2], RATE), 'int64'),
    (np.zeros(100), 'neither'),
  ],
)
def test_audio_that_cannot_be_used(pipe, portrait, audio, reason):
  with pytest.raises(InputError, match=reason):
    pipe.stream(portrait, audio)


def test_integer_samples_are_scaled():
  samples, _ = inputs.read_audio((np.int16([-32768, 16384]), RATE))
  np.testing.assert_array_equal(samples, [[-1], [0.5]])


def test_image_array_that_cannot_be_used(pipe):
  with pytest.raises(InputError, match='uint8'):
    pipe.stream(np.zeros((64, 64, 3)), (speech(0.7), RATE))


def seen_at(box):
  """A search for faces that finds one there."""
  face = inputs.faces.FaceTrack(
    detected=np.ones(1, bool),
    face_box=np.float32([box]),
    pose=np.full((1, 6), 3, np.float32),
    blink=np.full((1, 2), 0.4, np.float32),
    mouth_box=np.zeros((1, 4), np.float32),
    landmarks=np.zeros((1, 478, 2), np.float32),
  )
  return lambda _: [face]


def test_square_portrait_never_needs_faces(portrait, monkeypatch, caplog):
  def missing(_):
    raise InputError('no MediaPipe')

  monkeypatch.setattr(inputs.faces, 'detect_faces', missing)
  source = inputs.read_source(portrait, 'auto', 64)
  np.testing.assert_array_equal(source.image, portrait)
  np.testing.assert_allclose(source.pose, inputs.faces.DEFAULT_POSE)
  monkeypatch.setattr(inputs.faces, 'detect_faces', lambda _: [])
  monkeypatch.setattr(inputs.face_search, 'find_boxes', lambda _: [])
  source = inputs.read_source(portrait, 'auto', 64)
  np.testing.assert_array_equal(source.image, portrait)
  assert not caplog.records


def test_good_square_portrait_stays_whole(portrait, monkeypatch):
  """And the face in it is seen."""
  find = seen_at([0.22, 0.2, 0.78, 0.8])
  monkeypatch.setattr(inputs.faces, 'detect_faces', find)
  source = inputs.read_source(portrait, 'auto', 64)
  np.testing.assert_array_equal(source.image, portrait)
  assert source.square == (0, 0, 64, 64)
  assert (source.pose == 3).all() and (source.blink == np.float32(0.4)).all()
  np.testing.assert_allclose(source.face_box, [0.22, 0.2, 0.78, 0.8])


@pytest.mark.parametrize(
  'box',
  [
    pytest.param([0.4, 0.3, 0.6, 0.6], id='small'),
    pytest.param([0.45, 0.2, 0.98, 0.8], id='off-centre'),
  ],
)
def test_other_square_pictures_are_cropped(portrait, box, monkeypatch, caplog):
  monkeypatch.setattr(inputs.faces, 'detect_faces', seen_at(box))
  with caplog.at_level('INFO'):
    source = inputs.read_source(portrait, 'auto', 64)
  assert source.square == square_around(np.float32(box), 64, 64)
  assert '--crop none' in caplog.text
  source = inputs.read_source(portrait, 'none', 64)
  np.testing.assert_array_equal(source.image, portrait)


def test_centre_is_taken_where_nobody_can_look(monkeypatch, caplog):
  def missing(_):
    raise InputError('no MediaPipe')

  monkeypatch.setattr(inputs.faces, 'detect_faces', missing)
  image = np.zeros((64, 96, 3), np.uint8)
  image[:, 16:80] = 200
  source = inputs.read_source(image, 'auto', 32)
  assert (source.image == 200).all()
  assert 'no MediaPipe' in caplog.text


def test_no_face_is_an_error(monkeypatch):
  monkeypatch.setattr(inputs.faces, 'detect_faces', lambda _: [])
  monkeypatch.setattr(inputs.face_search, 'find_boxes', lambda _: [])
  with pytest.raises(InputError, match='no face'):
    inputs.read_source(np.zeros((64, 96, 3), np.uint8), 'auto', 32)


def test_a_far_face_is_found_in_smaller_windows(monkeypatch):
  """Of two, the larger one; only where nothing is seen in the whole."""
  boxes = [np.float32([0, 0, 0.1, 0.1]), np.float32([0.6, 0.4, 0.8, 0.7])]
  monkeypatch.setattr(inputs.faces, 'detect_faces', lambda _: [])
  monkeypatch.setattr(inputs.face_search, 'find_boxes', lambda _: boxes)
  source = inputs.read_source(np.zeros((100, 200, 3), np.uint8), 'auto', 32)
  x, y, side, _ = source.square
  assert abs(x + side / 2 - 140) <= 1 and side == 56


def test_pasted_back_the_frames_are_pictures(pipe, video, portrait):
  """The crop moves as without; around it nothing changes."""
  picture = np.full((90, 120, 3), 128, np.uint8)
  picture[10:74, 30:94] = portrait
  options = dict(crop=(30, 10, 64, 64), steps=2, paste_back=True)
  clip = pipe.prepare(picture, (speech(0.7), RATE), **options)
  assert clip.size == (90, 120) and clip.resolution == 64
  made = pipe(picture, (speech(0.7), RATE), **options).frames
  assert made.shape == (18, 90, 120, 3)
  assert (made[:, :, :30] == 128).all() and (made[:, 74:] == 128).all()
  # Where the mask is 1 there is the frame, but for a tint.
  middle = made[:, 30:54, 50:74].astype(int) - video.frames[:, 20:44, 20:44]
  tint = middle.mean((1, 2), keepdims=True)
  assert np.abs(tint).max() <= 20 and np.abs(middle - tint).mean() < 5
  assert pipe.timings['paste'].frames == 18


def test_moves_of_a_video_are_conditions(pipe, portrait, monkeypatch):
  """Relative to the portrait's own, which is looked for."""
  pose = np.zeros((40, 6), np.float32)
  pose[:, 0] = np.arange(40)
  monkeypatch.setattr(
    driving,
    'read_motion',
    lambda path, n: (pose[:n], np.full((n, 2), 0.2, np.float32)),
  )
  looked = []
  monkeypatch.setattr(inputs, 'find_faces', lambda *_: looked.append(1) or [])
  given = portrait, (speech(0.7), RATE)
  clip = pipe.prepare(*given, pose_from='a.mp4')
  assert looked and 'blink' not in clip.conditions
  made = clip.conditions['pose'][0, :18]
  source = clip.conditions['source_pose'][0]
  np.testing.assert_allclose(made - source, pose[:18], atol=1e-6)
  clip = pipe.prepare(*given, blink_from='a.mp4', pose_mode='absolute')
  assert (clip.conditions['blink'][0, :18] == np.float32(0.2)).all()
  assert 'pose' not in clip.conditions
  with pytest.raises(InputError, match='pose and pose_from are given'):
    pipe.prepare(*given, pose='still', pose_from='a.mp4')


def test_unknown_weights_name_what_there_is():
  with pytest.raises(InputError, match='mini'):
    Pipeline.from_pretrained('maxi')


def test_config_of_another_model(tiny_weights, tmp_path):
  config = json.loads((tiny_weights / 'config.json').read_text())
  config['model']['lmae']['colour'] = 1
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(InputError, match='config.json'):
    Pipeline.from_pretrained(tmp_path)


def test_the_objective_comes_with_the_weights(
  pipe, portrait, tiny_weights, tmp_path
):
  """As `mdcf pack` writes it; weights of old have none, and predict noise."""
  assert pipe._stages.phases['diffusion'].objective == 'noise'
  trained = diffusion.get_config('tiny')
  config = json.loads((tiny_weights / 'config.json').read_text())
  folder = shutil.copytree(tiny_weights, tmp_path / 'weights')

  def load(objective):
    trained.loss.objective = objective
    how = {'steps': 1, 'config': pack._without_paths(trained.to_dict())}
    config['phases']['diffusion'] = how
    (folder / 'config.json').write_text(json.dumps(config))
    return Pipeline.from_pretrained(folder)

  flow = load('flow')
  assert flow._stages.phases['diffusion'].objective == 'flow'
  sound = speech(0.2), RATE
  with pytest.raises(InputError, match="objective 'flow': take ddim or dpm"):
    flow.stream(portrait, sound, sampler='ddim-dawn')
  assert flow(portrait, sound, steps=1).frames.shape == (5, 64, 64, 3)
  with pytest.raises(InputError, match="'foo' is none of noise") as error:
    load('foo')
  assert '\n' not in str(error.value)


def test_uses_one_device_only(pipe):
  devices = {d for x in jax.tree.leaves(pipe.variables) for d in x.devices()}
  assert len(devices) == 1


def test_damaged_tables_are_errors_in_one_line(pipe, portrait, tmp_path):
  header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
  broken = {
    'zip.npy': b'PK' + bytes(100),
    'large.npy': header % b'10000000000000, 6',
    'cut.npy': header % b'5, 6',
    'words.npy': b'nothing',
  }
  for name, content in broken.items():
    if content.startswith(b'{'):
      length = len(content).to_bytes(2, 'little')
      content = b'\x93NUMPY\x01\x00' + length + content
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=name) as error:
      pipe.stream(portrait, (speech(0.7), RATE), pose=path)
    assert '\n' not in str(error.value)


def test_pictures_mean_the_same_as_files(tmp_path):
  deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
  glass = np.zeros((64, 64, 4), np.uint8)
  for name, array in (('deep', deep), ('glass', glass)):
    path = tmp_path / f'{name}.png'
    Image.fromarray(array).save(path)
    with Image.open(path) as image:
      given = inputs.read_source(image, 'none', 64).image
    np.testing.assert_array_equal(
      given, inputs.read_source(path, 'none', 64).image
    )


def test_sound_of_one_sample_is_one_frame():
  samples, rate = inputs.read_audio((np.ones(1, np.float32), 48000))
  assert inputs.audio_features(samples, rate, MEL).shape == (1, 320)
