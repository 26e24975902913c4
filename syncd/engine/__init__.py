"""The way of a message: receive, translate, dispatch, reconcile. Knows platforms only by their interface."""
