"""Files, errors, processes and speed. Every run needs them; read the rest of the package first.

    checkpoint, metrics    write files that are never half written
    files, results         check what a file holds before it is used
    belonging              which files belong to one run
    logs                   copies the metrics to TensorBoard or Weights & Biases
    vocabulary             words that were added after a checkpoint was written
    command                one line and an exit code for each error
    seeding                random generators, each with a name
    kernels                selects the library that multiplies matrices
    neighbours             other programs on the same cores
    parallel               several processes that learn as one
"""
