"""A state machine over engine and store: any order of what people, platforms, networks and operators do."""
