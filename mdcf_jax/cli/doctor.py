"""mdcf doctor: what is where it runs, to paste into a report of a bug.

  mdcf doctor
  mdcf doctor --json > doctor.json
  mdcf doctor --no-test

Versions, devices, memory, codecs, weights, settings, and a short video that is
generated, written and read again. Exit code 0: it can generate; 1: it cannot.
Nothing is fetched or sent; names of home folders and secrets are left out.
"""

import argparse
import dataclasses
import json
import os
import sys

from mdcf_jax.doctor.findings import FAILED, Findings

HELP = 'what is where it runs, and a self-test, for a report of a bug'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    '--no-test',
    '--no_test',
    action='store_true',
    help='leave out the video, which takes seconds, the first time a minute',
  )
  parser.add_argument(
    '--json', action='store_true', help='print one object instead of lines'
  )


def run(args: argparse.Namespace) -> int:
  """Prints the findings; returns 0 where it can generate, else 1."""
  variables = dict(os.environ)  # JAX adds some of its own.
  from mdcf_jax.doctor.examine import examine
  from mdcf_jax.programs import keep_programs

  keep_programs()
  found = examine(not args.no_test, variables)
  if args.json:
    rows = [dataclasses.asdict(finding) for finding in found]
    report = {'healthy': found.healthy, 'findings': rows}
    sys.stdout.write(json.dumps(report, indent=1) + '\n')
  else:
    sys.stdout.write('\n'.join(lines(found)) + '\n')
  return 0 if found.healthy else 1


def lines(found: Findings) -> list[str]:
  """The findings in words, and a verdict at the end."""
  rows, section = [], ''
  for finding in found:
    title = finding.section if finding.section != section else ''
    section = finding.section
    row = f'{title:<12}{finding.name:<12}{finding.state:<9}{finding.text}'
    rows.append(row.rstrip())
  failed = [f'{x.section} {x.name}' for x in found if x.state == FAILED]
  if failed:
    return [*rows, f'It cannot generate: {", ".join(failed)}']
  return [*rows, 'It can generate.']
