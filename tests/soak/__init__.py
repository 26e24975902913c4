"""Months of a bridge's life in minutes: real daemons, people who write, and all that goes wrong, from a seed."""
