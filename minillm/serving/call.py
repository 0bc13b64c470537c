"""One call of a client: what its texts report, in order, until they have ended or time is up."""

import asyncio
import time
import traceback
from dataclasses import dataclass

from minillm.serving.errors import failed, out_of_time, shutting_down
from minillm.serving.parameters import Job


@dataclass
class Event:
    """More of one text."""

    job: Job
    text: str
    scores: list  # of TokenScores, for log-probabilities
    finish_reason: str | None  # "stop" or "length" in the last event of a text


class Call:
    """Events travel from the batch's thread to the event loop; neither waits for the other.

    timeout: seconds from now until the call has to be over
    """

    def __init__(self, worker, timeout):
        self.worker, self.timeout = worker, timeout
        self.deadline = time.monotonic() + timeout
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue()
        self._requests, self._started = [], set()

    def report(self, job, has_ended):
        """Called by the batch's thread after every token of a job, and when it has ended."""
        if has_ended:
            job.output.finish()
        text, scores = job.output.take(has_ended)
        if job.index not in self._started and (text or scores or has_ended):
            self._started.add(job.index)
            text, scores = job.output.begin + text, job.prompt_scores + scores
        if text or scores or has_ended:
            self._post(Event(job, text, scores, job.request.finish_reason))

    def abort(self, error):
        """End it with an ApiError."""
        self._post(error)

    def submit(self, jobs):
        """Give the requests to the batch. Raises ApiError if it takes no more."""
        self._requests = [job.request for job in jobs]
        self.worker.submit(self._requests)

    async def events(self):
        """Yield Events until all texts have ended. Raises ApiError."""
        n_open = len(self._requests)
        while n_open:
            left = self.deadline - time.monotonic()
            try:
                event = await asyncio.wait_for(self._queue.get(), max(0, left))
            except asyncio.TimeoutError:
                raise out_of_time(self.timeout) from None
            if isinstance(event, Exception):
                raise event
            if event.finish_reason == "error":
                error = event.job.request.error
                if not isinstance(error, ValueError):
                    traceback.print_exception(error)  # a defect, for whoever reads the terminal
                raise failed(error)
            if event.finish_reason == "cancelled":
                raise shutting_down()
            n_open -= event.finish_reason is not None
            yield event

    def close(self):
        """Free the slots of what still runs."""
        running = [request for request in self._requests if request.finish_reason is None]
        if running:
            self.worker.cancel(running)

    def _post(self, event):
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)
        except RuntimeError:
            pass  # the loop is closed: nobody listens
