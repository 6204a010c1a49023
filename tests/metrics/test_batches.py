"""Batches over the devices of a process."""

import jax
import numpy as np

from mdcf_jax.metrics import batches


def test_a_batch_is_spread_over_the_devices():
  count = jax.local_device_count()
  assert count == 8  # As tests/conftest.py says.
  seen, items = [], np.arange(11.0, dtype=np.float32)[:, None]
  weights = jax.device_put(np.float32(3), batches.replicated())

  def function(x):
    seen.append(x)
    return jax.jit(lambda w, x: w * x)(weights, x)

  size = batches.whole_batch(5)
  out = batches.apply_in_batches(function, items, size, 1)
  np.testing.assert_array_equal(out, 3 * items)
  assert size == count and len(seen) == 2
  for x in seen:
    assert len(x.sharding.device_set) == count
    assert x.addressable_shards[0].data.shape == (1, 1)
  # What the devices do not divide stays whole.
  np.testing.assert_array_equal(
    batches.apply_in_batches(function, items, 3, 1), out
  )
  assert isinstance(seen[-1], np.ndarray)
