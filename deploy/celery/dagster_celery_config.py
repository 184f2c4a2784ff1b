"""What Celery's workers are told: `celery -A dagster_celery.app worker` looks for a module of this name."""

from __future__ import annotations

import os

broker_url = os.environ["DAGSTER_CELERY_BROKER_URL"]
result_backend = os.environ["DAGSTER_CELERY_BACKEND_URL"]
task_track_started = True  # the daemon asks whether a run is still with its worker
worker_prefetch_multiplier = 1  # no run waits behind another while a worker is idle
worker_max_tasks_per_child = 1  # a process a run, as everywhere else
worker_hijack_root_logger = False
