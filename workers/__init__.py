"""The processes that work: Celery workers, and the scheduler that wakes them. Open tasks.py first."""
