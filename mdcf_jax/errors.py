"""The one error of this package that speaks to the user."""


class InputError(ValueError):
  """Something the user gave cannot be used: what, which file, and why.

  The message is one line. Commands print it to stderr and exit with code 2;
  in Python it is an ordinary exception.
  """
