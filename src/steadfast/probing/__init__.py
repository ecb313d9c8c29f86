"""Directions in activation space: pure numpy on arrays of activations and of adapters' matrices.

`directions` finds what tells good replies from bad ones and holds it against what else could, `shifts` says how far
training moved a model along such a direction, and `weights` describes an adapter's change. None of them knows a model
or a file; `steadfast.study.probing` brings them together.
"""
