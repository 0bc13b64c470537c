"""The thread that runs the model: it takes requests, steps the batch, waits if there are none."""

import threading
import time

from minillm.generation.continuous_batching import ContinuousBatch
from minillm.serving.errors import queue_is_full, shutting_down

MOST_WAITING_FOR_MORE = 0.01  # seconds


class Worker:
    """A ContinuousBatch in a thread of its own. All methods may be called from any thread.

    max_waiting: how many requests may wait for a slot
    """

    def __init__(self, model, n_slots=16, max_waiting=64):
        self.batch = ContinuousBatch(model, n_slots)
        self.max_waiting = max_waiting
        self.n_steps = 0
        self.n_coming = 0  # calls whose requests the event loop will submit soon
        self._changed = threading.Condition()
        self._new, self._cancelled = [], []
        self._posts = []  # of this half of a step: (loop, function, argument)
        self.is_closing = False  # takes no more requests
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)

    def start(self):
        self._thread.start()

    @property
    def n_running(self):
        return sum(request is not None for request in self.batch.slots)

    @property
    def n_waiting(self):
        return len(self.batch.waiting) + len(self._new)

    def submit(self, requests):
        """Queue all of the requests, or none. Raises ApiError 429 if the queue is full, 503 if the
        server shuts down."""
        with self._changed:
            if self.is_closing:
                raise shutting_down()
            free = len(self.batch.slots) - self.n_running
            if self.n_waiting + len(requests) > self.max_waiting + free:
                raise queue_is_full()
            self._new += requests
            self._changed.notify()

    def cancel(self, requests):
        """End these requests before the next step."""
        with self._changed:
            self._cancelled += requests
            self._changed.notify()

    def post(self, loop, function, argument):
        """Call function(argument) in an event loop after this half of a step. For the batch's
        thread."""
        self._posts.append((loop, function, argument))

    def close(self):
        """Take no more requests; those that are here go on."""
        with self._changed:
            self.is_closing = True

    def stop(self):
        """End the thread after its step, and wait for it."""
        with self._changed:
            self.is_closing = self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self):
        is_busy = False
        while True:
            with self._changed:
                while not (is_busy or self._new or self._cancelled or self._is_stopping):
                    self._changed.wait()
                if not is_busy:
                    self._wait_for_more()
                if self._is_stopping:
                    return
                new, self._new = self._new, []
                cancelled, self._cancelled = self._cancelled, []
                for request in new:
                    self.batch.submit(request)
            for request in cancelled:
                self.batch.cancel(request)
            self.batch.read()
            self._send_posts()  # first tokens don't wait for the second ones
            is_busy = self.batch.write()
            self.n_steps += 1
            self._send_posts()

    def _wait_for_more(self):
        """Wait for the calls that are being read, so that prompts that come at the same moment are
        read together. Not long: a client may send its body slowly."""
        end = time.monotonic() + MOST_WAITING_FOR_MORE
        while (self.n_coming and len(self._new) < len(self.batch.slots)
                and not self._is_stopping and (left := end - time.monotonic()) > 0):
            self._changed.wait(left)

    def _send_posts(self):
        """Wake each event loop once, not once a token."""
        posts, self._posts = self._posts, []
        for loop in {loop for loop, _, _ in posts}:
            mine = [(function, argument) for its, function, argument in posts if its is loop]
            try:
                loop.call_soon_threadsafe(_call_all, mine)
            except RuntimeError:
                pass  # the loop is closed: nobody listens


def _call_all(pairs):
    for function, argument in pairs:
        function(argument)
