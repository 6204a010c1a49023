"""A function that is called in a thread of its own."""

import threading

import pytest

from mdcf_jax.media.background import Background


def test_calls_are_made_in_order_and_all_of_them():
  done = []
  with Background(lambda i: done.append(i), most=2) as call:
    for i in range(50):
      call(i)
  assert done == list(range(50))


def test_the_caller_goes_on_until_too_much_waits():
  may_go, done = threading.Event(), []

  def work(i):
    may_go.wait(10)
    done.append(i)

  with Background(work, most=3) as call:
    for i in range(4):  # One is being done, three wait.
      call(i)
    assert not done
    late = threading.Thread(target=call, args=(4,))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    may_go.set()
    late.join(10)
  assert done == list(range(5))


@pytest.mark.parametrize('calls', [1, 30])
def test_errors_come_out_and_end_it(calls):
  done = []

  def work(i):
    done.append(i)
    raise OSError('full')

  with pytest.raises(OSError, match='full'):
    with Background(work, most=2) as call:
      for i in range(calls):
        call(i)
  assert done == [0]


def test_what_was_called_is_done_when_the_block_fails():
  done = []
  with pytest.raises(KeyboardInterrupt):
    with Background(done.append) as call:
      call(1)
      call(2)
      raise KeyboardInterrupt
  assert done == [1, 2]
