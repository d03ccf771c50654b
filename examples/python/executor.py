"""
C{jobd.Executor} is a C{concurrent.futures.Executor}: code written for a
process pool runs on a daemon, whose workers are warm already and stay so.

    twistd -n jobd &
    python examples/python/executor.py
"""

import math
from concurrent.futures import as_completed

import jobd


def main() -> None:
    """What one does with any executor."""
    with jobd.Executor(label="example") as executor:
        print(list(executor.map(math.factorial, range(10))))

        futures = [executor.submit(math.isqrt, 10**exponent) for exponent in (20, 30, 40)]
        for future in as_completed(futures, timeout=60):
            print(f"a square root: {future.result():.0e}")

        # An exception comes back as itself; the traceback of the worker is its cause.
        problem = executor.submit(math.sqrt, -1).exception(timeout=60)
        print(type(problem).__name__, problem)


if __name__ == "__main__":
    main()
