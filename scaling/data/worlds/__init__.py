"""Synthetic sources of which everything is known: entropy, and what can be learned from context."""
