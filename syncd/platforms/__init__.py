"""The platforms that come with syncd. Each folder has the same files; others plug in by entry point."""
