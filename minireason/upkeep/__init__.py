"""What every run needs and no reader has to know first.

    checkpoint, metrics    files that are never half written
    files, results         files are checked before they are believed
    vocabulary             words that were added after a checkpoint was written
    command                one line and an exit code for each error
    seeding                every generator has a name
    kernels                which library multiplies
    neighbours             other programs on the same cores
    parallel               several processes that learn as one
"""
