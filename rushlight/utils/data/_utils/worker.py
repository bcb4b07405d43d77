"""What a sample's code can ask about the worker process that it runs in.

There are no worker processes yet (`DataLoader(num_workers=0)` only), so the answer is always the
main process's: None.
"""

__all__ = ["get_worker_info"]


def get_worker_info():
    """The worker that this code runs in: None in the main process."""
    return None
