"""A folder of exported functions: StableHLO, weights, and a manifest.

  manifest.json          what there is: names, shapes, types, sha256, versions
  encoder.stablehlo      of `jax.export`: its call takes (weights, inputs)
  encoder.safetensors    its weights, by the names that the call takes

The programs have no numbers of the weights in them, so they are small, and
weights of the same sizes can be exchanged.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from jax import export

from mdcf_jax import inputs, weights
from mdcf_jax.errors import InputError
from mdcf_jax.export.functions import Function, Maker
from mdcf_jax.models import sizes
from mdcf_jax.pipeline import NAMES, Pipeline
from mdcf_jax.stages import Options

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = 'manifest.json'
PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')


def write(
  name: str | os.PathLike,
  output: str | os.PathLike,
  *,
  platforms: Sequence[str] = ('cpu', 'cuda', 'tpu'),
  resolution: int | None = None,
  dtype: str = 'float32',
  options: Options | None = None,
  batch: int | None = None,
  frames: int | None = None,
) -> pathlib.Path:
  """Exports the networks of weights into a folder, whole or not at all.

  Args:
    name: of the weights, as in `Pipeline.from_pretrained`.
    output: new, empty, or an earlier export, which is replaced.
    platforms: that the programs run on, of PLATFORMS; none needs to be here.
    resolution: pixels of a side, by default those trained for.
    dtype: 'float32' or 'bfloat16', of weights and to compute in.
    options: of the sampler, whose steps are the denoiser's.
    batch, frames: fixed numbers; None leaves any number to the call.

  Raises:
    InputError: something given cannot be used, the weights lack a phase, or the
      model cannot be exported for any number of frames.
  """
  output = pathlib.Path(output).resolve()
  _check_output(output)
  for platform in platforms:
    if platform not in PLATFORMS:
      raise InputError(
        f'platform {platform!r} is none of: {", ".join(PLATFORMS)}'
      )
  for what, size in (('batch', batch), ('frames', frames)):
    if size is not None and size < 1:
      raise InputError(f'{what} {size} is less than 1')
  options = options or Options()
  inputs.check_sampling(
    0, options.steps, options.sampler, options.guidance_scale
  )
  pipe = Pipeline.from_pretrained(name, dtype=dtype)
  for phase in ('fde', 'diffusion'):
    if phase not in pipe.variables:
      raise InputError(f'{name}: these weights lack the phase {phase!r}')
  multiple = sizes.resolution_multiple(pipe.config['model'], NAMES)
  size = inputs.check_resolution(resolution, pipe.resolution, multiple)
  symbols = export.symbolic_shape('b, t')
  shape = (batch or symbols[0], frames or symbols[1])
  maker = Maker(pipe.config, pipe.variables, dtype, size, options, *shape)
  with weights.replacing(output) as folder:
    with _for_any(frames):
      artefacts = {
        function.name: _write_one(folder, function, platforms)
        for function in maker.all()
      }
    about = _about(pipe, name, size, dtype, options)
    about |= dict(platforms=list(platforms), artefacts=artefacts)
    text = json.dumps(about, indent=1) + '\n'
    (folder / MANIFEST).write_text(text, encoding='utf-8')
  return output


@contextlib.contextmanager
def _for_any(frames: int | None) -> Iterator[None]:
  """Blames symbols for what is raised inside, if there are any.

  Numbers that are not known yet are asked for in many ways, and each has an
  error of its own.
  """
  try:
    yield
  except Exception as error:
    if isinstance(error, (InputError, OSError)) or frames is not None:
      raise
    raise InputError(
      'this model cannot be exported for any number of frames; give --frames '
      f'({type(error).__name__}: {" ".join(str(error).split())[:150]})'
    ) from error


def _check_output(folder: pathlib.Path) -> None:
  """Raises InputError unless the folder may be replaced by an export."""
  if not folder.exists():
    return
  if not folder.is_dir():
    raise InputError(f'{folder} is no folder; it stays as it is')
  names = {path.name for path in folder.iterdir()}
  kinds = ('.stablehlo', '.safetensors', '.md')
  others = [x for x in names if x != MANIFEST and not x.endswith(kinds)]
  if names and (others or MANIFEST not in names):
    raise InputError(f'{folder} exists and is no export; it stays as it is')


def _write_one(
  folder: pathlib.Path, function: Function, platforms: Sequence[str]
) -> dict[str, Any]:
  """Writes a program and its weights; returns their entry of the manifest."""
  shapes = {k: _shape(function.weights[k]) for k in _used(function)}
  with _without_places():
    made = export.export(jax.jit(function.call), platforms=platforms)(
      shapes, function.inputs
    )
  program = folder / f'{function.name}.stablehlo'
  program.write_bytes(made.serialize())
  tensors = {k: np.asarray(function.weights[k], order='C') for k in shapes}
  kept = folder / f'{function.name}.safetensors'
  kept.write_bytes(safetensors.numpy.save(tensors, {'format': 'mdcf_jax'}))
  logger.info(
    '%s: program %.2f MB, weights %.2f MB',
    *(function.name, program.stat().st_size / 1e6, kept.stat().st_size / 1e6),
  )
  outputs = jax.tree.unflatten(made.out_tree, made.out_avals)
  return dict(
    program=_file(program),
    weights=_file(kept),
    calling_convention_version=made.calling_convention_version,
    inputs={k: _words(x) for k, x in function.inputs.items()},
    outputs={k: _words(x) for k, x in outputs.items()},
  )


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
  """Leaves out of programs where in which file of whose home each line was."""
  name = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, before)


def _used(function: Function) -> list[str]:
  """Names of the weights without which the results would be others."""
  shapes = jax.tree.map(_shape, function.weights)
  jaxpr = jax.make_jaxpr(function.call)(shapes, function.inputs).jaxpr
  needed = {id(x) for x in jaxpr.outvars}
  for equation in reversed(jaxpr.eqns):
    if any(id(x) in needed for x in equation.outvars):
      needed.update(map(id, equation.invars))
  # Arguments are in the order of the names, weights first.
  return [
    name for name, x in zip(sorted(shapes), jaxpr.invars) if id(x) in needed
  ]


def _shape(x: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _words(x: Any) -> dict[str, Any]:
  shape = [n if isinstance(n, int) else str(n) for n in x.shape]
  return dict(shape=shape, dtype=str(x.dtype))


def _file(path: pathlib.Path) -> dict[str, Any]:
  content = path.read_bytes()
  digest = hashlib.sha256(content).hexdigest()
  return dict(file=path.name, bytes=len(content), sha256=digest)


def _about(
  pipe: Pipeline, name: Any, size: int, dtype: str, options: Options
) -> dict[str, Any]:
  """What the whole folder is."""
  try:
    version = importlib.metadata.version('mdcf_jax')
  except importlib.metadata.PackageNotFoundError:
    version = 'checkout'
  licences = {
    phase: how.get('licence') or 'not stated'
    for phase, how in pipe.config['phases'].items()
  }
  return dict(
    format=FORMAT,
    mdcf_jax=version,
    jax=jax.__version__,
    weights=pipe.origin or os.path.basename(os.path.normpath(name)),
    licences=licences,
    resolution=size,
    dtype=dtype,
    fps=inputs.FPS,
    audio_encoder=pipe.config['audio_encoder'],
    steps=options.steps,
    sampler=options.sampler,
    guidance_scale=options.guidance_scale,
    symbols={'b': 'clips', 't': 'frames'},
  )
