"""One call of a client: what its texts report, in order, until they have ended or time is up."""

import asyncio
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
        self.worker = worker
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue()
        self._alarm = self._loop.call_later(timeout, self.abort, out_of_time(timeout))
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
            self.worker.post(self._loop, self._queue.put_nowait,
                             Event(job, text, scores, job.request.finish_reason))

    def abort(self, error):
        """End it with an ApiError. For the event loop."""
        self._queue.put_nowait(error)

    def submit(self, jobs):
        """Give the requests to the batch. Raises ApiError if it takes no more."""
        self._requests = [job.request for job in jobs]
        self.worker.submit(self._requests)

    async def events(self):
        """Yield lists of Events, as they come, until all texts have ended. Raises ApiError."""
        n_open = len(self._requests)
        while n_open:
            events = [_checked(await self._queue.get())]
            while not self._queue.empty():
                events.append(_checked(self._queue.get_nowait()))
            n_open -= sum(event.finish_reason is not None for event in events)
            yield events

    def close(self):
        """Free the slots of what still runs."""
        self._alarm.cancel()
        running = [request for request in self._requests if request.finish_reason is None]
        if running:
            self.worker.cancel(running)


def _checked(event):
    """-> the Event; raises the ApiError that came instead"""
    if isinstance(event, Exception):
        raise event
    if event.finish_reason == "error":
        error = event.job.request.error
        if not isinstance(error, ValueError):
            traceback.print_exception(error)  # a defect, for whoever reads the terminal
        raise failed(error)
    if event.finish_reason == "cancelled":
        raise shutting_down()
    return event
