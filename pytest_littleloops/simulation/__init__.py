"""The engine: runs unmodified threaded code under many schedules. It knows tasks and objects, not issues.

From the inside out: `real` keeps the real primitives; `carriers` and `placement` are the threads that tasks
run on; `tasks` and `world` are one execution, whose turn it is, and a clock; `membership` tells who is part
of it; `primitives`, `threads`, `clock` and `cell` are what tasks act on; `sites`, `outside` and `patching`
put these in the place of the real ones; `strategies` choose, `schedule` and `replay` choose again; `story`
and `stacks` tell; `explorer` executes again and again; `explore` is the function for users, and `inside` is
what code within a world may ask. Nothing here imports another wing.
"""
