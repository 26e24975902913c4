"""The daemon: wires the parts, runs them, and stops them in the right order."""
