"""Statistics in small exact formulas. Pure Python: values in, values out; it knows no other room.

`drift`: has a model become worse? `offpolicy`: what would another policy have brought? Each is imported by itself:
every decision needs the one, and only a replay the other.
"""
