"""Questions that go through a provider's batch API: gathered, sent, followed, and their answers collected.

spooling    a run gathers them: a line each in a file, their worst price reserved in the ledger
submitting  the intention is in the ledger: from now on the batch may be with the provider, and is looked for
            there before it is made again
submitted   the provider's id is in the ledger; it is looked at from time to time
ended       its answers can be read
collected   they are in the answer store, and what they cost is in the books
refused     the provider does not take it as a whole: nothing was paid
dropped     it never came to be there, and its run does not go on: it is not sent, and nothing was paid
lost        the provider knows of it no more: it counts at its worst case
"""

from loom_dagster.batches.clerk import Clerk
from loom_dagster.batches.desk import Desk
from loom_dagster.batches.order import Order
from loom_dagster.batches.waiting import Waiting

__all__ = ["Clerk", "Desk", "Order", "Waiting"]
