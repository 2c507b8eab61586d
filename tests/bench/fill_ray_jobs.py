"""Runs on a Ray cluster: writes finished jobs into Ray's own job table, as its job manager does.

Running thousands of real jobs would take hours; the table, its client and what it holds are Ray's.
"""

from __future__ import annotations

import asyncio
import sys
import time

import ray
from ray._private.worker import global_worker
from ray.dashboard.modules.job.common import JobInfo, JobInfoStorageClient
from ray.job_submission import JobStatus


async def fill(count: int) -> None:
    """Jobs that look like ended ones of the Jobs API."""
    client, now_ms = JobInfoStorageClient(global_worker.gcs_client), int(time.time() * 1000)
    for number in range(count):
        job = JobInfo(
            status=JobStatus.SUCCEEDED,
            entrypoint=f"python main.py --run {number}",
            message="Job finished successfully.",
            start_time=now_ms - 60_000,
            end_time=now_ms,
            metadata={"job_name": f"run {number}"},
            runtime_env={"env_vars": {"RUN": str(number)}},
            driver_exit_code=0,
        )
        await client.put_info(f"raysubmit_filled_{number:06d}", job)


if __name__ == "__main__":
    ray.init()
    asyncio.run(fill(int(sys.argv[1])))
