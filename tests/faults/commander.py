"""Gives commands while droned is being killed, and writes down what it was told.

Several workers, each with instances of its own, so that the orders of one
instance come one after the other. A command whose answer is lost is repeated
under the same idempotency key until there is an answer: what was unknown for a
while is known in the end.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.api import Api, Refused, Unanswered
from tests.faults.model import Order

RETRY_S = 0.05
PATIENCE_S = 60.0
"""How long one command is repeated, and how long its action is waited for."""


@dataclass(slots=True)
class Commander:
    """Workers that order things until `stop`; a context manager."""

    api: Api
    instances: Sequence[str]
    seed: int
    workers: int = 4
    pause_s: float = 0.2
    """The longest pause of a worker between two orders."""
    orders: dict[str, list[Order]] = field(default_factory=dict, init=False)
    wanted_enabled: dict[str, bool] = field(default_factory=dict, init=False)
    """What the last acknowledged `enable` or `disable` of an instance asked for."""
    failures: list[str] = field(default_factory=list, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)

    def __enter__(self) -> Commander:
        self.orders = {key: [] for key in self.instances}
        for number in range(self.workers):
            own = self.instances[number :: self.workers]
            thread = threading.Thread(target=self._work, args=(own, random.Random(self.seed + number)))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every worker finish the order that it is at."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def all_orders(self) -> list[Order]:
        """Every order of every instance."""
        return [order for own in self.orders.values() for order in own]

    def _work(self, instances: Sequence[str], dice: random.Random) -> None:
        is_up = dict.fromkeys(instances, True)
        while instances and not self._over.is_set():
            key = dice.choice(instances)
            if is_up[key]:
                command = dice.choice(("restart", "restart", "stop", "start", "disable", "enable"))
            else:
                command = dice.choice(("start", "start", "start", "stop"))
            order = self._give(command, key)
            if command in ("enable", "disable"):
                if order.answered_s is not None:
                    self.wanted_enabled[key] = command == "enable"
                if order.refusal is not None:
                    self.failures.append(f"{key}: {command} refused: {order.refusal}")
            else:
                self.orders[key].append(order)
                if order.answered_s is not None:
                    is_up[key] = command != "stop"
            self._over.wait(dice.uniform(0.0, self.pause_s))

    def _give(self, command: str, instance: str) -> Order:
        """One order from its first sending to the end of its action."""
        key = uuid.uuid4().hex
        issued_s = time.monotonic()
        deadline = issued_s + PATIENCE_S
        tries = 0
        receipt = None
        refusal = None
        while receipt is None and refusal is None and time.monotonic() < deadline:
            tries += 1
            try:
                receipt = self.api.order(command, (instance,), key=key)
            except Refused as error:
                # 503: it is shutting down or cannot write just now; nothing was done, the key is still free.
                if error.status == 503:
                    time.sleep(RETRY_S)
                else:
                    refusal = str(error)
            except Unanswered:
                time.sleep(RETRY_S)
        answered_s = None if receipt is None else time.monotonic()
        ended_s = state = None
        if receipt is not None:
            action = receipt["action"]
            while action is not None and action["state"] == "running" and time.monotonic() < deadline:
                with contextlib.suppress(Unanswered):
                    try:
                        action = self.api.ended(action["id"], within_s=deadline - time.monotonic())
                    except Refused as error:
                        refusal = f"acknowledged, then its action is refused: {error}"
                        break
                if action["state"] == "running":
                    time.sleep(RETRY_S)
            if action is not None and action["state"] != "running":
                ended_s, state = time.monotonic(), action["state"]
        return Order(
            key=key,
            command=command,
            instance=instance,
            issued_s=issued_s,
            answered_s=answered_s,
            refusal=refusal,
            ended_s=ended_s,
            state=state,
            tries=tries,
            durable=receipt is None or bool(receipt["durable"]),
        )
