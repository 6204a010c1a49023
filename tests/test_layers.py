"""Imports point one way: ops <- models <- phases <- loop, pipeline <- cli."""

import ast

import pytest

# What a part of the package may import of it; the longest name decides.
ALLOWED = {
  'errors': (),
  'network': ('errors',),
  'hub': ('hub', 'network', 'weights', 'media', 'errors'),
  'visualize': (),
  'jobs': ('errors',),
  'inputs': ('errors', 'media', 'data', 'ops', 'speech', 'weights'),
  'driving': ('errors', 'media'),
  'speech': ('errors', 'data', 'models', 'weights'),
  'ops': ('ops',),
  'models': ('ops', 'models', 'errors'),
  'phases': ('ops', 'models', 'phases', 'visualize', 'errors'),
  'data': ('data', 'errors', 'media'),
  'media': ('media', 'errors', 'data', 'network'),
  'prepare': ('prepare', 'pages', 'data', 'media', 'speech', 'errors'),
  'pages': ('pages', 'media', 'errors'),
  'pages.markup': (),
  'convert': ('convert', 'models', 'errors'),
  'metrics': ('models', 'ops', 'metrics', 'media', 'errors'),
  'evaluation': (
    *('evaluation', 'metrics', 'convert', 'models', 'ops', 'media', 'weights'),
    'errors',
  ),
  'report': ('report', 'pages', 'metrics', 'media', 'visualize', 'errors'),
  'study': ('study', 'pages', 'media', 'errors'),
  'sharding': ('errors',),
  'distributed': ('sharding', 'errors'),
  'weights': ('errors',),
  'training': ('training', 'sharding', 'weights', 'visualize', 'errors'),
  'training.loop': None,
  'training.run': None,
  'training.checks': None,
  'training.latents': None,
  'training.samples': ('training', 'visualize', 'media', 'errors'),
  'training.normalisation': ('training', 'weights', 'data', 'errors'),
  'devices': ('host', 'errors'),
  'host': (),
  'programs': ('media',),
  'stages': ('phases', 'devices'),
  'clips': ('inputs', 'stages', 'media'),
  'timing': (),
  'generator': ('clips', 'devices', 'stages', 'timing', 'media'),
  'pipeline': None,
  'reenact': None,
  'app': (
    *('app', 'pipeline', 'inputs', 'media', 'models', 'phases', 'visualize'),
    *('network', 'errors'),
  ),
  'doctor': None,
  'export': None,
  'cli': None,
}
FORBIDDEN = {'torch', 'tensorflow', 'configs'}
NUMPY_ONLY = ('data.transforms', 'data.frames')


def imports(path):
  """Names of the modules that a file imports, anywhere in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def rule(name):
  """The entry of ALLOWED for a module."""
  while name not in ALLOWED and '.' in name:
    name = name.rpartition('.')[0]
  return ALLOWED[name]


def test_imports_point_one_way(repository):
  root = repository / 'mdcf_jax'
  for path in root.rglob('*.py'):
    name = '.'.join(path.relative_to(root).with_suffix('').parts)
    name = name.removesuffix('.__init__')
    if name == '__init__':
      continue  # The door of the package opens on what users call.
    for module in imports(path):
      assert module.split('.')[0] not in FORBIDDEN, f'{name}: {module}'
      if name in NUMPY_ONLY:
        assert module.split('.')[0] not in ('jax', 'flax'), f'{name}: {module}'
      if module.startswith('mdcf_jax.') and rule(name) is not None:
        part = module.split('.')[1]
        assert part in rule(name), f'{name} imports {module}'


@pytest.mark.parametrize('name', ['_src', 'interpreters'])
def test_no_private_jax(repository, name):
  for path in (repository / 'mdcf_jax').rglob('*.py'):
    assert not any(f'jax.{name}' in module for module in imports(path)), path
