"""
The blocking client: submit, wait, look at the outcome; steps that depend on
others; what becomes of them when one fails.

    twistd -n jobd &
    python examples/python/blocking.py
"""

import tempfile
from pathlib import Path

import jobd
from jobd.errors import JobFailed


def main() -> None:
    """Run a few jobs of each kind."""
    with jobd.connect() as client, tempfile.TemporaryDirectory() as folder:
        here = client.options(cwd=folder, label="example")

        # A command, a line for the shell, a Python function in a warm worker.
        words = here.run("sort", "-u", stdin="pear\napple\npear\n", stdout="words.txt")
        line = here.shell("echo $((6 * 7)) > answer.txt")
        number = here.call("math:factorial", 20)
        print("submitted:", words, line, number)

        # All three run at once. This one starts when they have succeeded, and only then.
        merged = here.shell("cat words.txt answer.txt > merged.txt", after=[words, line, number])
        outcome = merged.wait(timeout=60)
        print(f"{merged} {outcome.state} after {outcome.wall:.3f} s, attempt {outcome.attempt}")
        print((Path(folder) / "merged.txt").read_text().split(), number.result())

        # Many at once, each reported as soon as it has ended.
        jobs = client.submit([{"call": "math:gcd", "args": [n, 360]} for n in range(100, 105)])
        for job in client.as_completed(jobs, timeout=60):
            print(f"{job}: {job.result()}")

        # A failure is told where it is asked for, and the step after it is skipped, visibly.
        broken = here.call("math:sqrt", -1)
        never = here.run("echo", "not printed", after=[broken])
        try:
            broken.result(timeout=60)
        except JobFailed as problem:
            print(problem)
        print(never.wait(timeout=60).describe())


if __name__ == "__main__":
    main()
