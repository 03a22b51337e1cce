"""schedule(cib, now) -> Transition: a pure function made of named stages; read pipeline.py first.

model.py is the working set; stages/ reads the CIB and finishes the graph, placement/ chooses nodes, acting/
creates actions, propagation/ settles what each one means for the others; explain.py says why.
"""
