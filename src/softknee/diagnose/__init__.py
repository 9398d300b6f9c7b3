"""Facts about a model: why does it not learn?

Probes measure (`trace`, `probes`), rules judge (`rules`), a session ties them together (`session`).
"""
