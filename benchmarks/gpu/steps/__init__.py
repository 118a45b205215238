"""One step a module, named by its kind: ``run(task, tell)`` in a process of its own."""
