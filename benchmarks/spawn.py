"""Run a command and write what it cost as JSON to a descriptor: `python -S -E benchmarks/spawn.py FD COMMAND…`.

A process of its own, small: a child begins with the peak of the memory that its parent has (exec(2) carries it over), and the
bench has more than most of what it measures.
"""

import json
import os
import sys
import time

began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - began
figures = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss / 1024}
os.write(int(sys.argv[1]), json.dumps(figures).encode())
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
