"""Faults injected from outside, an area a module: `make faults`, whose table is in docs/reliability.md."""
