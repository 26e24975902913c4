"""The Bird platform."""
