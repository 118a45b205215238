"""The checks, one small file a group; each is a function of the machine and the answers."""
