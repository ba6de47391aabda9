"""The engine: runs unmodified threaded code under many schedules. It knows tasks and objects, not issues.

From the inside out: `real` keeps the real primitives, `carriers` and `placement` the threads that tasks run on,
`world` is one execution (whose turn it is, and a clock), `primitives` and `cell` are what tasks act on,
`sites`, `outside` and `patching` put these in the place of the real ones, `strategies` choose, `replay` and
`schedule` choose again, `story` tells, `explorer` executes again and again, `explore` is the function for
users, and `inside` is what code within a world may ask. Nothing here imports another wing.
"""
