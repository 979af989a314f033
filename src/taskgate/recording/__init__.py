"""Append, chain, seal, read, verify, replay, search: what happened, and the proof of it."""
