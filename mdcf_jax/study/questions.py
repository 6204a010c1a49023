"""The four questions of the paper's user study (appendix A.4, table 7)."""

import dataclasses

LOWEST, HIGHEST = 1, 5


@dataclasses.dataclass(frozen=True)
class Question:
  """One question.

  Attributes:
    key: of answers.
    title: the paper's name.
    text: what is asked.
    criteria: what 1, 2, 3, 4 and 5 stand for.
  """

  key: str
  title: str
  text: str
  criteria: tuple[str, str, str, str, str]


# Table 7 in other words; where exactly five faults belong it does not say.
QUESTIONS = (
  Question(
    'l_sync',
    'L-Sync',
    'Do the lips fit the sound?',
    (
      'They do not fit at all.',
      'They fit in part: up to 10 mismatches.',
      'They fit on the whole: up to 5 mismatches.',
      'They fit well: up to 3 mismatches.',
      'They fit completely.',
    ),
  ),
  Question(
    'o_nat',
    'O-Nat',
    'How natural is the video as a whole?',
    (
      'Very unnatural: obviously made by a computer.',
      'Unnatural: at times strikingly so, with traces of synthesis.',
      'Natural on the whole, though it looks synthetic.',
      'Fairly natural: mostly as real expressions are, now and then a trace of '
      'synthesis.',
      'Very natural: cannot be told from a real video.',
    ),
  ),
  Question(
    'v_qual',
    'V-Qual',
    'How good is the picture? Faults are artefacts, patches of wrong colour, '
    'or colours that shift.',
    (
      'Very poor: faults throughout.',
      'Poor: many faults, more than 10.',
      'Average: some faults, more than 5.',
      'Good: few faults, less than 5.',
      'Excellent: no faults.',
    ),
  ),
  Question(
    'v_stab',
    'V-Stab',
    'How steady is the video? Faults are flicker, jitter, or disturbances.',
    (
      'Very poor: many faults, it shakes badly.',
      'Poor: many faults.',
      'Average: some faults that one notices.',
      'Good: few faults, which hardly matter.',
      'Excellent: no faults.',
    ),
  ),
)
KEYS = tuple(question.key for question in QUESTIONS)
