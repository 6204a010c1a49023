"""The protocol: its hash, and that it is what the code does."""

import dataclasses

import pytest

from mdcf_jax.metrics import fvd, lip_sync, protocol
from mdcf_jax.models import i3d, inception, raft

# Scores that were published with another hash do not compare: a change of the
# rules needs another name.
V1 = '3bd030ed06c3dad439f010c2aa72d106fb1c17c3afdad64bf69b2c38728d4c46'


def test_the_hash_of_v1_never_changes():
  assert protocol.v1.hash == V1
  assert protocol.PROTOCOLS['v1'] is protocol.v1


@pytest.mark.parametrize(
  'name', [x.name for x in dataclasses.fields(protocol.Protocol)]
)
def test_every_field_changes_the_hash(name):
  changed = dataclasses.replace(protocol.v1, **{name: 'else'})
  assert changed.hash != V1 and len(changed.hash) == 64


def test_v1_says_what_the_code_does():
  v1 = protocol.v1
  assert v1.fvd_lengths == fvd.LENGTHS and v1.fvd_rule in fvd.RULES
  assert v1.sync_crops == lip_sync.CROPS
  assert v1.flow_iterations == raft.ITERATIONS
  assert str(inception.FEATURES) in v1.inception
  assert str(inception.RESOLUTION) in v1.inception_resize
  assert str(i3d.CLASSES) in v1.i3d
