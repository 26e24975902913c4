"""The HTTP listeners: webhooks for platforms, health and metrics for administrators."""
