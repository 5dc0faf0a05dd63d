"""Byte-level distillation inside a training loop of one's own, without the workflow.

Two tiny models with different tokenizers are made here; put your own in their place. The teacher is
asked for its byte distributions, the student has no byte head: its own token distribution is summed to
bytes (`head: marginal`). Run it with `pip install -e .` done, or with PYTHONPATH=workflow.
"""

from __future__ import annotations
