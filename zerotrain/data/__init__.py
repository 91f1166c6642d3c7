"""Data: prepared once into a memory-mapped store, then read by index."""
