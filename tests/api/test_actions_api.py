"""A person stops an action over REST."""

import httpx

from remediation.policy import Person, Policy, Rule
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S

BODY = {"by": "mira", "reason": "the campaign explains it"}


def test_an_action_under_way_is_stopped_once(world: World, serve: Serve) -> None:
    action = world.act(world.fall_ill())
    path = f"/api/v1/actions/{action.id}/cancel"
    with serve(world.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for _ in range(2):
            answer = client.post(path, json=BODY)
            assert (answer.status_code, answer.json()["state"]) == (200, "awaiting_ack")
            assert answer.json()["steps"][-1]["detail"] == "mira cancelled it: the campaign explains it"
        world.sequence()
        lines = client.get("/api/v1/audit", params={"action": "action.cancelled"}).json()["items"]
        assert [(each["actor"], each["detail"]["reason"]) for each in lines] == [("mira", BODY["reason"])]
        assert client.post("/api/v1/actions/act-0/cancel", json=BODY).status_code == 404
        assert client.post(path, json={**BODY, "reason": ""}).status_code == 422


def test_only_who_may_decide_may_stop(world: World, serve: Serve) -> None:
    people = {"mira": Person(roles=("guest",)), "ada": Person(roles=("owner",))}
    world.policy = Policy(people=people, rules=(Rule(roles=("owner",)),))
    action = world.act(world.fall_ill())
    path = f"/api/v1/actions/{action.id}/cancel"
    with serve(world.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        refused = client.post(path, json=BODY)
        assert refused.status_code == 403
        assert "mira may not cancel this" in refused.json()["detail"]
        assert client.post(path, json={**BODY, "by": "ada"}).status_code == 200
        assert client.get(f"/api/v1/actions/{action.id}").json()["steps"][-1]["name"] == "cancel"
