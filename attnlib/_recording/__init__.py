"""What :mod:`attnlib.inspection` records with: nothing of it is left on the model, which may be copied and
saved.

======== ====================================================================================
watch    sees every attention call of a thread, whatever name the model knows the function by
follow   from a softmax that a model writes out to the values that its result meets
place    which module made the call, how many heads it has, which of its rows are padding
reading  from the tensors of a call to the statistics of its rows
picture  the plot of a report
======== ====================================================================================
"""
