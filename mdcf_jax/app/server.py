"""Starts and ends the page."""

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

from mdcf_jax import network
from mdcf_jax.app.guard import Guard
from mdcf_jax.app.limits import Limits
from mdcf_jax.app.studio import Studio
from mdcf_jax.app.visits import Store
from mdcf_jax.app.work import Workshop
from mdcf_jax.errors import InputError

HOST = '127.0.0.1'
_PORTS = range(7860, 7880)
_INSTALL = "the page needs gradio: pip install '.[app]'"
_OLDEST = 6, 7
# Of gradio's `launch`: nothing but the page.
_SETTINGS = dict(
  server_name=HOST,
  prevent_thread_lock=True,
  quiet=True,
  css_paths=[pathlib.Path(__file__).with_name('page.css')],
  footer_links=[],
  run_history=False,
  enable_monitoring=False,
  ssr_mode=False,
  mcp_server=False,
  pwa=False,
  allowed_paths=[],
)


@contextlib.contextmanager
def serve(
  pipe: Any,
  limits: Limits | None = None,
  *,
  port: int | None = None,
  resolution: int | None = None,
  share: bool = False,
) -> Iterator[tuple[str, Studio]]:
  """Serves the page while the block runs.

  Args:
    pipe: a Pipeline.
    limits: of visitors.
    port: of 127.0.0.1; None is the first free one from 7860.
    resolution: that is offered first.
    share: open a public link through gradio's servers as well.

  Yields:
    The address, a public one with `share`, and the studio.

  Raises:
    InputError: gradio is missing, the port is taken, the resolution is none
      of the weights', or a link is asked for and `MDCF_OFFLINE` is set.
  """
  if share:
    network.check('a public link')
  check_gradio()
  limits = limits or Limits()
  port = find_port(port)
  with Store(limits) as store, _environment(store.root):
    studio = Studio(store, Workshop(pipe, limits), resolution)
    from mdcf_jax.app import page

    blocks = page.Page(studio).blocks
    try:
      _, address, public = blocks.launch(
        server_port=port,
        share=share,
        theme=page.theme(),
        max_file_size=limits.file_bytes,
        app_kwargs=dict(middleware=[_middleware(store.root, limits, share)]),
        **_SETTINGS,
      )
      if share and not public:
        raise InputError('no public link could be opened')
      yield public or address, studio
    finally:
      blocks.close(verbose=False)


def check_gradio() -> None:
  """Raises InputError unless there is a gradio that is new enough."""
  # Before the import: it would ask the network for its newest version.
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  try:
    import gradio
  except ImportError as error:
    raise InputError(f'{_INSTALL} ({error})') from error
  version = tuple(int(part) for part in gradio.__version__.split('.')[:2])
  if version < _OLDEST:
    raise InputError(f'{_INSTALL} (gradio {gradio.__version__} is too old)')


def find_port(port: int | None) -> int:
  """A port of 127.0.0.1 that is free.

  Raises:
    InputError: there is none, or the one given is taken.
  """
  for candidate in _PORTS if port is None else [port]:
    with socket.socket() as trial:
      trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      try:
        trial.bind((HOST, candidate))
        return trial.getsockname()[1]
      except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
  if port is None:
    raise InputError(f'all ports from {_PORTS[0]} to {_PORTS[-1]} are taken')
  raise InputError(f'port {port} cannot be used: {reason}')


def _middleware(root: pathlib.Path, limits: Limits, share: bool):
  from starlette.middleware import Middleware

  return Middleware(
    Guard, root=root, upload_bytes=limits.file_bytes, any_host=share
  )


@contextlib.contextmanager
def _environment(root: pathlib.Path) -> Iterator[None]:
  """Gradio keeps its files in `root`, and what is set for it does not count."""
  before = {k: v for k, v in os.environ.items() if k.startswith('GRADIO_')}
  for name in before:
    del os.environ[name]
  os.environ['GRADIO_TEMP_DIR'] = str(root)
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  try:
    yield
  finally:
    del os.environ['GRADIO_TEMP_DIR']
    os.environ.update(before)
