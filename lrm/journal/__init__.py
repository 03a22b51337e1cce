"""The record of what was done on this node: the truth about it.

`records` are what is written, `model` is what they add up to (pure), `codec` their JSON, `store` the file.
"""
