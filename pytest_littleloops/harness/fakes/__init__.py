"""What the fixtures give: futures, executors, pools and orchestrators that do what the test says.

Each is the real thing with a string attached: a real `Future`, `Executor`, `WorkerPool`, or
`IssueQueue`, so that what passes with them passes with the real ones.
"""
