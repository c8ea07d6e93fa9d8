"""Lines of the tables that people read."""


def line(name, ours, bare, digits, more=""):
    return f"{name:<28}{ours:>14,.{digits}f}{bare:>14,.{digits}f}   {ours / bare if bare else 0:>5.2f}{more}"
