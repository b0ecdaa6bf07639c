"""The fault harness: real commands, killed at every call that changes the disk, and every power cut that could follow.

    tracing   a command in a process of its own, its calls to the disk told one by one, and killed at the one named
    disk      pure: what a disk may hold after a power cut, when it keeps what was synced and no more
    boxes     a directory with everything that a command can touch, taken up from the disk and put down on it
    scenes    the commands that are tried, and from what they start
    checks    what must be true of a box, read without antscache
    harness   all this put together, and counted

What is tried, and how often: docs/faults.md.
"""
