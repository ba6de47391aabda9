"""A worker pool in twenty lines, with the bug that pytest-littleloops was made for."""

from concurrent.futures import ThreadPoolExecutor


class MyPool:
    def __init__(self, process, executor=None):
        self.process = process
        self.executor = executor or ThreadPoolExecutor(max_workers=1)

    def submit(self, issue, on_complete):
        future = self.executor.submit(self.process, issue)
        future.add_done_callback(lambda done: self._handle_completion(done, issue, on_complete))
        return future

    def _handle_completion(self, future, issue, on_complete):
        try:
            on_complete(future.result())
        except BaseException as error:
            print(f"worker failed for {issue.issue_id}: {error!r}")

    def shutdown(self):
        self.executor.shutdown()
