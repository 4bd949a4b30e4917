"""A seeded world over the real actors: one thread, virtual time, faults by seed (docs/simulation.md)."""
