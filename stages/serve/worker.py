"""One thread that computes: requests that wait are answered together, where they draw alike.

What an answer is depends on its own prompt, sampling and seed (`stages.models.inference.generate`), so that it is the same alone and
beside others.
"""

from __future__ import annotations

import queue
import threading

from stages.models.chat.templates import ChatFault
from stages.models.inference.generate import Generation, Generator
from stages.models.inference.token_scores import TokenScore
from stages.serve.jobs import Job, why_not
from stages.serve.requests import RequestFault


class ChatWorker(threading.Thread):
    """Answers jobs until `end`."""

    def __init__(self, generator: Generator, waiting: int):
        super().__init__(name="answers", daemon=True)
        self.generator = generator
        self.jobs: queue.Queue[Job | None] = queue.Queue(waiting)
        self._next: Job | None = None
        self._ended = False
        self._door = threading.Lock()
        """Held while a job comes in, or nothing more is to come."""

    def submit(self, job: Job) -> bool:
        """Put a job in the queue; false where it is full, or nothing is answered any more."""
        with self._door:
            if self._ended:
                return False
            try:
                self.jobs.put_nowait(job)
            except queue.Full:
                return False
            return True

    def end(self) -> None:
        """No more jobs; those that wait are told, what is under way is answered."""
        with self._door:
            self._ended = True
            try:
                while True:
                    self._turn_away(self.jobs.get_nowait())
            except queue.Empty:
                self.jobs.put_nowait(None)

    @staticmethod
    def _turn_away(job: Job | None) -> None:
        if job is not None:
            job.tell(RequestFault(503, "the server is ending: ask again later", "ending"))

    def run(self) -> None:
        while not self._ended:
            job = self._next or self.jobs.get()
            self._next = None
            if job is None:
                break
            together = self._alike(job)
            ready = [one for one in together if one.wanted and self._ready(one)]
            if not ready:
                continue
            try:
                made = self._answers(ready)
            except Exception as fault:  # one batch that fails (out of memory) does not end the server
                for one in ready:
                    one.tell(fault)
                continue
            for one, answers in zip(ready, made):
                self._close(one, answers)
        self._turn_away(self._next)

    def _answers(self, ready: list[Job]) -> list[list[Generation]]:
        """Of each job, its answers one after another."""
        n = ready[0].n
        owners = [(job, n * number) for job in ready for number in range(len(job.prompts))]

        def on_text(row: int, sample: int, text: str) -> bool:
            job, first = owners[row]
            return job.hear(first + sample, text)

        def on_score(row: int, sample: int, score: TokenScore) -> None:
            job, first = owners[row]
            job.scores[first + sample].append(score)

        made = self.generator.answer(
            [prompt for job in ready for prompt in job.prompts], ready[0].sampling, n, on_text, [job.seed for job, _ in owners], on_score
        )  # fmt: skip
        rows = iter(made)
        return [[answer for _ in job.prompts for answer in next(rows)] for job in ready]

    def _alike(self, job: Job) -> list[Job]:
        """`job` and those behind it that draw alike, as many as are answered at a time."""
        found = [job]
        while sum(one.size for one in found) < self.generator.batch:
            try:
                other = self.jobs.get_nowait()
            except queue.Empty:
                break
            if other is None or (other.sampling, other.n) != (job.sampling, job.n):
                self._next = other
                self._ended |= other is None
                break
            found.append(other)
        return found

    def _ready(self, job: Job) -> bool:
        """Can the job be answered? If not it is told why."""
        try:
            job.prepare(self.generator)
            job.scores = [[] for _ in range(job.size)]
            return True
        except ChatFault as fault:
            job.tell(why_not(fault))
        except Exception as fault:  # a template or tokenizer that fails on one conversation does not end the server
            job.tell(fault)
        return False

    def _close(self, job: Job, answers: list[Generation]) -> None:
        for sample in range(job.size):
            job.hear(sample, "", last=True)
        job.tell(answers)
