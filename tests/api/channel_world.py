"""The ill world, and a channel to a peer."""

from dataclasses import dataclass

from remediation.approvals import decide
from remediation.values import Approval, Incident, Plan
from serving.channels.teller import Teller, Transport
from tests.api.api_world import World
from tests.api.peers import Peer

CONSOLE = "https://watch.example"
SECRET = "a-long-secret-of-the-webhook"


@dataclass
class Told:
    """The ill world, a channel to a peer, and what it is told about."""

    world: World
    peer: Peer
    teller: Teller
    elapsed_s: float = 0.0

    def read(self) -> tuple[Incident, Plan, Approval]:
        with self.world.journal.reading() as unit:
            approval = unit.approval("apr-1-1")
            assert approval is not None
            incident, plan = unit.incident(approval.incident_id), unit.plan(approval.plan_id)
        assert incident is not None
        assert plan is not None
        return incident, plan, approval

    async def ask(self) -> bool:
        return await self.teller.approval_requested(*self.read())

    def approve(self) -> None:
        world, ticket = self.world, self.read()[2]
        decide(
            world.journal,
            world.clock,
            ticket.id,
            "approve",
            by="mira",
            reason="seen",
            channel="console",
            plan_hash=ticket.plan_hash,
        )


def make(world: World, peer: Peer, transport: Transport) -> Told:
    def elapsed_s() -> float:
        return told.elapsed_s

    teller = Teller(transport, world.journal, world.clock, console_url=lambda: CONSOLE, elapsed_s=elapsed_s)
    told = Told(world, peer, teller)
    return told
