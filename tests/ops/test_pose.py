"""Moments and affine motions of regions."""

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops import deformation, pose, warp


def covariance(angle, major, minor):
  turn = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  return jnp.asarray(turn @ np.diag([major, minor]) @ turn.T)


def test_moments_of_a_gaussian_are_its_own():
  shift = jnp.array([[[0.1, -0.2]]])
  covar = covariance(0.7, 0.02, 0.005)[None, None]
  heat = pose.gaussian(shift, covar, 64, 64)
  mean, found = pose.moments(heat / jnp.sum(heat))
  np.testing.assert_allclose(mean, shift, atol=1e-4)
  np.testing.assert_allclose(found, covar, rtol=1e-2, atol=1e-5)


def test_principal_axes_square_to_the_covariance():
  for angle in (0.0, 0.3, 2.0):
    covar = covariance(angle, 0.04, 0.01)
    axes = pose.principal_axes(covar)
    np.testing.assert_allclose(axes @ axes.T, covar, rtol=1e-5, atol=1e-7)
    assert jnp.linalg.det(axes) > 0


def test_a_circle_has_finite_gradients():
  loss = lambda c: jnp.sum(pose.principal_axes(c) ** 3)
  assert jnp.all(jnp.isfinite(jax.grad(loss)(0.01 * jnp.eye(2))))


def test_motion_of_a_region_that_does_not_move_is_the_identity():
  covar = covariance(0.4, 0.04, 0.01)[None, None]
  region = dict(
    shift=jnp.array([[[0.3, 0.1]]]), affine=pose.principal_axes(covar)
  )
  motions = pose.region_motions(region, region, jnp.eye(3)[None], 8, 8)
  expected = jnp.broadcast_to(warp.identity_grid(8, 8), motions.shape)
  np.testing.assert_allclose(motions, expected, atol=1e-5)


def test_motion_follows_the_region():
  covar = covariance(0.4, 0.04, 0.01)[None, None]
  axes = pose.principal_axes(covar)
  source = dict(shift=jnp.array([[[0.3, 0.1]]]), affine=axes)
  driving = dict(shift=jnp.array([[[0.0, 0.0]]]), affine=axes)
  motions = pose.region_motions(source, driving, jnp.eye(3)[None], 9, 9)
  # The centre of the driving region shows that of the source region.
  np.testing.assert_allclose(motions[0, 1, 4, 4], [0.3, 0.1], atol=1e-6)


def test_deformation_jacobian_is_the_slope():
  bend = deformation.random_deformation(jax.random.key(0), 2)
  points = jnp.array([[[0.2, -0.3]], [[0.5, 0.1]]])
  slope = deformation.jacobian(bend, points)
  step = 1e-3
  for axis in range(2):
    moved = points.at[..., axis].add(step)
    still = points.at[..., axis].add(-step)
    change = deformation.deform(bend, moved) - deformation.deform(bend, still)
    # Central differences in float32.
    np.testing.assert_allclose(slope[..., axis], change / (2 * step), atol=2e-3)
