"""What each runtime supports, one file a runtime: operators with their types, and their limits.

Facts from NVIDIA's operator matrices and from runs of the runtimes themselves; every file says
which. A table has two parts: OPERATORS, the element types that an operator's data may have (types
of indices and shapes are ONNX's own affair), and RULES, its further limits. What no static look
at a graph can tell is in neither: whether Loop and Scan keep their shapes, and memory.
"""
