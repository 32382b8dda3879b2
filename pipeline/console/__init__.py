"""The review console: where people work the queues. An HTTP API, and pages that use the same API."""
