"""What makes a run worthless."""


class Wrong(Exception):
    """Something was lost, doubled, out of order or refused, or the bridge failed: no figure of this run counts."""
