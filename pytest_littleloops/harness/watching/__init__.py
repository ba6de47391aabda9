"""How objects come to speak to a journal: what their methods mean, and what is noted when they are called.

`lifecycle` says what a method means, `adapters` know it for particular libraries; `watch` exchanges an
object's class, `roles` note its calls, `futures` and `completions` what happens between a pool and its
orchestrator.
"""
