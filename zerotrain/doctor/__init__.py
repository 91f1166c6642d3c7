"""Is this machine ready for a spec: facts are gathered by `probes`, judged by `checks`, and shown."""
