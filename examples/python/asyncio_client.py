"""
The client for C{asyncio}: submit, follow what jobs write as they write it, and
go on with other things meanwhile.

    twistd -n jobd &
    python examples/python/asyncio_client.py
"""

import asyncio

from jobd import aio
from jobd.client.outcome import Outcome
from jobd.client.reading import Output


async def main() -> None:
    """Two jobs whose output is told live, and ten whose results are."""
    async with await aio.connect() as client:
        counting = [await client.shell(f"for n in 1 2 3; do echo {name} $n; sleep 0.1; done") for name in "ab"]
        others = asyncio.create_task(squares(client))
        async for told in client.follow(counting):
            if isinstance(told, Output):
                print(f"job {told.job}:", told.data.decode().strip())
            elif isinstance(told, Outcome):
                print(told.describe())
        print(await others)


async def squares(client: aio.Client) -> list[int]:
    """Ten calls, submitted at once, their results in order."""
    return [result async for result in client.map("builtins:pow", range(10), [2] * 10)]


if __name__ == "__main__":
    asyncio.run(main())
