"""What became of the jobs of a multirun, said at its end, so that no failed one hides."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from anatomark.cli import user_message
from anatomark.finished import read_result
from anatomark.multirun import JobRecord, ended_jobs, record_job
from anatomark.runs import display_path

log = logging.getLogger("anatomark")


class SweepSummary(Callback):
    """Keeps the end of every job in its folder, and lists them all when the multirun ends."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Writes ``job.json``, in whatever process the job ran."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        error = job_return._return_value if job_return.status is JobStatus.FAILED else None
        message = None if error is None else user_message(error) or f"{type(error).__name__}: {error}"
        job = JobRecord(overrides=list(job_return.overrides or []), error=message and " ".join(message.split()))
        record_job(Path(config.hydra.runtime.output_dir), job)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Logs how many jobs finished, and of each failed one the error and where its traceback is."""
        folder = Path(config.hydra.sweep.dir)
        jobs = ended_jobs(folder)
        if not jobs:
            return
        shared = set.intersection(*(set(job.overrides) for job in jobs.values()))
        states = {name: state_of(folder / name, job) for name, job in jobs.items()}
        counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(states.values()).items()))
        log.info("sweep %s: %d jobs, %s", display_path(folder), len(jobs), counts)
        for name, job in jobs.items():
            if states[name] == "failed":
                own = " ".join(word for word in job.overrides if word not in shared)
                trace = display_path(folder / name / f"{config.hydra.job.name}.log")
                log.error("failed: %s (%s): %s; traceback in %s", name, own, job.error, trace)


def state_of(folder: Path, job: JobRecord) -> str:
    """How a job ended: "failed", "pruned" or "finished"."""
    if job.error is not None:
        return "failed"
    result = read_result(folder)
    return "pruned" if result is not None and result.pruned else "finished"
