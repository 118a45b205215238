"""The authors' published weights: their tensors' names, in ours.

One file a family, each with a function that takes tensors by the authors' names and returns them by
ours. A name it does not know is passed on as it is, so that loading reports it. What is not the
family's matter is undone before (:func:`edgepose.models.checkpoints.names.unwrapped`).
"""
