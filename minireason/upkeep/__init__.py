"""What every run needs and no reader has to know first: files, exit codes, seeds, several processes.

checkpoint, metrics   files that are never half written         command    one line and an exit code for each error
seeding               every generator has a name                parallel   several processes that learn as one
"""
