import pipeline.one_thread  # noqa: F401 (as the worker: what is called directly is held against it)
