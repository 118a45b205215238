"""From a camera, stream, video or folder to skeletons: sources, boxes, the loop and its outputs."""
