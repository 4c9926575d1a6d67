"""The rows of the dashboard, from what is looked at first to what is looked at last."""
