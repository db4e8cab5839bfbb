"""What people say about alerts that belong to no window: of a model's traffic and of how its events arrive."""

from collections.abc import Iterator, Sequence
from typing import Final

from detectors.quality import arrivals as on_arrivals
from detectors.quality import traffic_feedback as on_traffic
from detectors.quality.arrivals import Arrived
from detectors.quality.traffic import Told
from detectors.sequential.hearing import Statement, in_words
from streams.judge.traffic import Watched

REMEMBERED: Final = 64


def hear(
    watched: Watched, statements: Sequence[Statement], time_us: int, clock_us: int
) -> Iterator[Told | Arrived]:
    """Take the statements that have not been heard, once the model's time has passed the alert that each is about, and
    the log's time (0: not known, in a replay) the moment at which it was made. An alert that ends by what was said, or
    begins again, is dated by the alert that was spoken about, so that a replay tells the same."""
    for one in statements:
        too_early = time_us <= one.after_us or 0 < clock_us < one.said_us
        if one.id in watched.heard or too_early:
            continue
        watched.heard = (*watched.heard, one.id)[-REMEMBERED:]
        if one.kind == "volume" and watched.traffic is not None:
            yield from _on_traffic(watched, one)
        elif one.kind == "data_quality":
            yield from _on_arrivals(watched, one)


def _on_traffic(watched: Watched, said: Statement) -> Iterator[Told]:
    was = watched.traffic
    if was is None:
        return
    if said.said == "taken back":
        after = on_traffic.take_back(was, said.about)
    else:
        after = on_traffic.say(was, said.said, said.id)
    watched.traffic = after
    if after.fires != was.fires:
        since_us, at_us = (after if after.fires else was).told_us, said.after_us + 1 + after.fires
        yield Told("firing" if after.fires else "cleared", since_us, at_us, in_words(said))


def _on_arrivals(watched: Watched, said: Statement) -> Iterator[Arrived]:
    was = any(one.told for one in watched.arrivals.values())
    for source, one in watched.arrivals.items():
        if said.said == "taken back":
            watched.arrivals[source] = on_arrivals.take_back(one, said.about)
        else:
            watched.arrivals[source] = on_arrivals.say(one, said.said, said.id)
    fires = any(one.told for one in watched.arrivals.values())
    if fires != was:
        at_us = said.after_us + 1 + fires
        yield Arrived("firing" if fires else "cleared", said.after_us, at_us, in_words(said))
