"""Flags and words of commands that generate: mark, metadata and manifest."""

import argparse
from typing import Any

from mdcf_jax.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that say how a generated video tells what it is."""
  add = parser.add_argument
  add(
    '--certificate',
    metavar='PEM',
    help='who signs the C2PA manifest; by default a self-signed certificate',
  )
  add('--private-key', '--private_key', metavar='PEM', help='of --certificate')
  add(
    '--no-mark',
    '--no_mark',
    action='store_true',
    help='leave the invisible mark out; for research, with --research',
  )
  add(
    '--research',
    action='store_true',
    help='the videos are for measurements and will not be published',
  )


def options(args: argparse.Namespace) -> dict[str, Any]:
  """Keywords of `VideoWriter` for the flags.

  Raises:
    InputError: --no-mark or --research without the other, half of a
      certificate, or one that cannot be used.
  """
  if args.no_mark and not args.research:
    raise InputError(
      '--no-mark is for research: say --research as well, or leave the mark in'
    )
  if args.research and not args.no_mark:
    raise InputError('--research is of --no-mark: the mark stays in without')
  if (args.certificate is None) != (args.private_key is None):
    raise InputError('--certificate and --private-key come together')
  sign = True
  if args.certificate is not None:
    from mdcf_jax.media import certificates, credentials

    sign = certificates.load_certificate(args.certificate, args.private_key)
    credentials.check(sign, args.certificate)
  return dict(mark=not args.no_mark, sign=sign)


def describe(mark: bool, sign: Any, output: str = 'video.mp4') -> str:
  """Returns a line that says what was put into `output`."""
  from mdcf_jax.media import certificates, provenance

  parts = ['the invisible mark' if mark else 'no mark (--research)']
  parts.append('the metadata tag')
  end = ''
  certificate = provenance.signer(output, sign)
  if certificate is not None:
    kind = 'self-signed' if certificate.self_made else 'signed'
    parts.append(f'a C2PA manifest ({kind})')
  elif not certificates.available():
    end = f'; no C2PA manifest: {certificates.INSTALL}'
  else:
    end = '; no C2PA manifest, which this container cannot hold'
  return f'provenance: {", ".join(parts)}{end}'
