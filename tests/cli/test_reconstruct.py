"""`mdcf reconstruct`, with stand-ins for the networks and with tiny ones."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.cli import main as cli
from mdcf_jax.cli import reconstruct

RESOLUTION = 64


class StillFDE:
  """Sees the driving frame's brightness as flow, decodes the source."""

  def apply(self, variables, *args, method):
    if method == 'encode':
      return (args[0],)
    if method == 'estimate':
      source, driving = args
      assert source.shape == driving.shape
      flow = jnp.mean(driving - source, axis=(1, 2, 3), keepdims=True)
      flow = jnp.broadcast_to(flow, (len(driving), 16, 16, 2))
      return jnp.concatenate([flow, jnp.ones_like(flow[..., :1])], axis=-1)
    features, dynamics = args
    return jnp.broadcast_to(features[0], (len(dynamics), 64, 64, 3))


class HalfLMAE:
  """Forgets half of the motion."""

  def apply(self, variables, x, *, method):
    return (x, x) if method == 'encode' else x * jnp.array([0.5, 0.5, 1.0])


def frames(count=11):
  """Noise that gets brighter with every frame."""
  noise = np.random.default_rng(0).integers(0, 100, (64, 64, 3))
  return (noise + 10 * np.arange(count)[:, None, None, None]).astype(np.uint8)


@pytest.fixture
def fake_pipeline(monkeypatch):
  """Makes `Pipeline.from_pretrained` return the stand-ins."""
  pipeline = pytest.importorskip('mdcf_jax.pipeline')
  pipe = types.SimpleNamespace(
    resolution=RESOLUTION,
    fde=StillFDE(),
    lmae=HalfLMAE(),
    variables=dict(fde={}, lmae={}),
  )
  monkeypatch.setattr(
    pipeline.Pipeline, 'from_pretrained', lambda name='mini': pipe
  )


@pytest.fixture
def clip(tmp_path):
  """A short video with sound."""
  from mdcf_jax.media.writer import VideoWriter

  path = tmp_path / 'a clip.mp4'
  tone = 0.1 * np.sin(np.arange(11 * 640) / 10).astype(np.float32)
  with VideoWriter(path, RESOLUTION, waveform=tone) as writer:
    for frame in frames():
      writer.write(frame)
  return path


def test_batches_of_any_number_of_frames_give_every_frame():
  rebuild = reconstruct.make_reconstruct(StillFDE(), HalfLMAE())
  video = frames(11)  # One batch of 8 and one of 3.
  result = rebuild(dict(fde={}, lmae={}), video, 2)
  assert result.fde.shape == video.shape and result.fde.dtype == np.uint8
  np.testing.assert_array_equal(result.fde[5], video[2])
  np.testing.assert_array_equal(result.lmae[10], video[2])
  expected = 10 * (np.arange(11) - 2) / 127.5
  # float32 sums of 12288 pixels.
  np.testing.assert_allclose(
    result.fde_dynamics[:, 0, 0, 0], expected, atol=1e-5
  )
  np.testing.assert_allclose(
    result.lmae_dynamics[:, 0, 0, 0], expected / 2, atol=1e-5
  )


def test_scores_leave_the_source_frame_out():
  video = frames(3)
  still = np.repeat(video[:1], 3, 0)
  decibel, similarity = reconstruct.score(video, still, 0)
  # Errors of 10 and of 20 steps of 255.
  steps = np.array([10, 20])
  np.testing.assert_allclose(
    decibel, np.mean(20 * np.log10(255 / steps)), rtol=1e-5
  )
  assert 0 < similarity < 1
  assert reconstruct.score(video, video, 1) == pytest.approx((100.0, 1.0))


def test_picture_shows_the_frame_of_largest_motion():
  rebuild = reconstruct.make_reconstruct(StillFDE(), HalfLMAE())
  video = frames(6)
  result = rebuild(dict(fde={}, lmae={}), video, 2)
  picture, index = reconstruct.motion_picture(video, result, 2)
  assert index == 5
  assert picture.shape == (2 * 64 + 4, 5 * 64 + 4 * 4, 3)
  np.testing.assert_array_equal(picture[:64, :64], video[2])
  np.testing.assert_array_equal(picture[68:, :64], video[5])


def test_warp_by_flow_moves_the_image():
  image = np.random.default_rng(0).normal(size=(65, 65, 3)).astype(np.float32)
  flow = np.zeros((17, 17, 2), np.float32)
  flow[..., 0] = 2 * 4 / 64  # Four pixels of 65: each looks to its right.
  moved = reconstruct.warp_by_flow(image, flow)
  # Interpolation weights of float32 coordinates.
  np.testing.assert_allclose(moved[:, :60], image[:, 4:64], atol=1e-4)


def test_command_writes_both_files_and_prints_scores(
  fake_pipeline, clip, tmp_path, capsys
):
  from mdcf_jax.media.video import read_video

  output = tmp_path / 'out.mp4'
  arguments = ['--video', str(clip), '--output', str(output)]
  assert cli.main(['reconstruct', *arguments, '--source-frame', '-1']) == 0
  printed = capsys.readouterr().out
  assert 'FDE + LMAE' in printed and str(output) in printed
  made = read_video(output)
  assert made.frames.shape == (11, 64, 3 * 64, 3)
  assert len(made.waveform) == pytest.approx(11 * 640, abs=1024)
  assert output.with_suffix('.motion.png').stat().st_size > 0
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'a clip.mp4', 'out.mp4', 'out.motion.png'}


@pytest.mark.parametrize(
  ('options', 'reason'),
  [
    (['--source-frame', '11'], '11 frames (0 to 10)'),
    (['--source-frame', '-12'], 'outside'),
    (['--max_frames', '1'], 'less than 2'),
    (['--output', 'out.txt'], 'out.txt'),
    (['--video', 'none.mp4'], 'none.mp4'),
  ],
)
def test_bad_arguments_are_one_line(
  fake_pipeline, clip, tmp_path, monkeypatch, capsys, options, reason
):
  monkeypatch.chdir(tmp_path)
  code = cli.main(['reconstruct', '--video', str(clip), *options])
  error = capsys.readouterr().err
  assert code == 2
  assert error.startswith('mdcf: error: ') and error.count('\n') == 1
  assert reason in error
  assert [path.name for path in tmp_path.iterdir()] == ['a clip.mp4']


def test_tiny_networks():
  """The real modules accept what the command gives them."""
  from mdcf_jax.models.fde import FDE
  from mdcf_jax.models.lmae import LMAE

  small = dict(block_expansion=4, max_features=8, num_blocks=2)
  fde = FDE(
    num_regions=10,
    region=small,
    background=small,
    flow=small,
    generator=dict(block_expansion=4, num_bottleneck_blocks=1),
  )
  lmae = LMAE(latent_channels=4, features=(4, 4, 4, 4), num_groups=2)
  image = jnp.zeros((1, RESOLUTION, RESOLUTION, 3))
  dynamics = jnp.zeros((1, 16, 16, 3))
  rng = jax.random.key(0)
  shapes = dict(
    fde=jax.eval_shape(fde.init, rng, image, image),
    lmae=jax.eval_shape(lmae.init, rng, dynamics, rng),
  )
  # Compiling two initialisations would take longer than all the rest.
  variables = jax.tree.map(lambda x: jnp.full(x.shape, 0.01), shapes)
  rebuild = reconstruct.make_reconstruct(fde, lmae)
  result = rebuild(variables, frames(3), 0)
  assert result.lmae.shape == (3, RESOLUTION, RESOLUTION, 3)
  assert np.isfinite(result.lmae_dynamics).all()
  x, y = np.meshgrid(np.linspace(0.3, 0.7, 4), (0.4, 0.6))
  points = np.stack([x, y], -1).reshape(8, 2)
  points = points + 0.1 * np.float32([0, 1, 1])[:, None, None]
  guided = rebuild(variables, frames(3), 0, np.float32(points))
  assert guided.fde.shape == result.fde.shape
  # The pictures differ, and only the points tell of motion.
  still, moved, same = guided.fde_dynamics
  np.testing.assert_allclose(moved, same, atol=1e-3)
  assert np.abs(moved - still).max() > 0.01
