"""What the scenario tests stand on: databases, a daemon in its own process, simulated platforms, a history checker."""
