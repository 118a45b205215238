"""What only a GPU can settle, measured in one command: see README.md beside this file.

``prepare`` runs where torch is and makes a bundle: graphs, crops of real people, the poses that
PyTorch finds on them. ``run`` runs where the GPU is, which may have no network, no torch and an old
Python: it needs what edgepose needs on a device, and this folder. Nothing but ``prepare`` and the
contenders that are torch themselves imports torch or onnx.
"""
