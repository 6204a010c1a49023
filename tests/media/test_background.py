"""A function that is called in a thread of its own."""

import signal
import threading
import time

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


@pytest.mark.parametrize('keep', [True, False])
def test_what_waits_when_the_block_fails(keep):
  begun, may_go, done = threading.Event(), threading.Event(), []

  def work(i):
    begun.set()
    may_go.wait(10)
    done.append(i)

  with pytest.raises(KeyboardInterrupt):
    with Background(work, keep=keep) as call:
      call(1)
      call(2)
      begun.wait(10)
      threading.Timer(0.1, may_go.set).start()
      raise KeyboardInterrupt
  assert done == ([1, 2] if keep else [1])


@pytest.mark.parametrize('ends_well', [True, False])
def test_the_thread_has_ended_however_often_it_is_interrupted(ends_well):
  """Whoever comes next may use what the function uses."""
  begun, running, done = threading.Event(), [], []

  def work(i):
    running.append(i)
    begun.set()
    time.sleep(0.5)
    running.remove(i)
    done.append(i)

  with pytest.raises(KeyboardInterrupt):
    with Background(work, keep=True) as call:
      call(1)
      call(2)
      begun.wait(10)
      main = threading.main_thread().ident
      for delay in (0.1, 0.2):
        threading.Timer(
          delay, signal.pthread_kill, (main, signal.SIGINT)
        ).start()
      if not ends_well:
        raise KeyboardInterrupt
  assert not running and done == [1]
