"""A person with a browser: sees a ticket, decides, and sees what happens without loading the page again."""

from playwright.sync_api import Page, expect

from remediation.approvals import request
from remediation.questions import question
from remediation.switches import PAUSE, Switch
from tests.api.api_world import START_US, World


def test_a_ticket_appears_is_approved_and_the_timeline_moves(
    page: Page, world: World, complaints: list[str]
) -> None:
    page.evaluate("window.loadedOnce = true")
    expect(page.locator("#freshness")).to_contain_text("Live")
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    world.fall_ill()
    ticket = page.get_by_role("article", name="Roll back credit-risk from version 2 to 1")
    expect(ticket).to_be_visible()
    ticket.get_by_role("button", name="Approve").click()
    expect(ticket.get_by_role("alert")).to_contain_text("Say who you are first")
    page.get_by_label("You are").fill("mira")
    ticket.get_by_role("button", name="Approve").click()
    expect(page.locator("#timeline")).to_contain_text("Approved by mira (console)")
    expect(page.locator("#decided")).to_contain_text("by mira (console)")
    expect(ticket).to_have_count(0)
    with world.journal.reading() as unit:
        approval = unit.approval("apr-1-1")
    assert approval is not None
    assert (approval.state, approval.decided_by, approval.channel) == ("approved", "mira", "console")
    assert page.evaluate("window.loadedOnce") is True
    assert complaints == []


def test_what_somebody_types_survives_news_and_a_rejection_needs_a_reason(
    page: Page, world: World, complaints: list[str]
) -> None:
    world.fall_ill()
    page.get_by_label("You are").fill("noor")
    ticket = page.locator("[data-key=apr-1-1]")
    ticket.get_by_role("button", name="Reject").click()
    expect(ticket.get_by_role("alert")).to_contain_text("Say why you reject")
    ticket.get_by_label("Reason").fill("known campaign")
    world.fall_ill(2)
    expect(page.locator("[data-key=apr-2-1]")).to_be_visible()
    expect(ticket.get_by_label("Reason")).to_have_value("known campaign")
    ticket.get_by_label("Reason").press("Enter")
    expect(page.locator("#timeline")).to_contain_text("Rejected by noor (console): known campaign")
    assert complaints == []


def test_dark_mode_is_switched_and_remembered(page: Page, complaints: list[str]) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    button = page.get_by_role("button", name="Dark")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert background() != light
    page.reload()
    assert background() != light
    assert complaints == []


def test_the_audit_page_verifies_and_the_keyboard_reaches_everything(
    page: Page, world: World, complaints: list[str]
) -> None:
    world.fall_ill()
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    page.bring_to_front()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("button", name="Verify the log").press("Enter")
    expect(page.locator("#verified")).to_contain_text("Intact: 6 entries")
    assert complaints == []


def test_what_an_incident_was_is_said_on_its_page(page: Page, world: World, complaints: list[str]) -> None:
    world.fall_ill()
    page.get_by_label("You are").fill("mira")
    page.goto(f"{page.url.rstrip('/')}/incidents/inc-1")
    form = page.get_by_role("form", name="Say what this was")
    form.get_by_label("Why").fill("a campaign")
    form.get_by_label("Why").press("Enter")
    assert world.told == [], "Enter alone says nothing"
    form.get_by_role("button", name="Expected").click()
    expect(form.get_by_role("alert")).to_have_text(
        "Recorded: expected (performance). It takes effect with the next window."
    )
    assert [(one.said, one.by, one.why) for one in world.told] == [("expected", "mira", "a campaign")]
    expect(page.locator("#story")).to_contain_text("A person said: expected: a campaign")
    assert complaints == []


def test_no_page_scrolls_sideways_on_a_phone(page: Page, world: World, complaints: list[str]) -> None:
    world.fall_ill()
    switch = Switch(name=PAUSE, on=True, by="mira", at_us=START_US, reason="a migration of the database")
    with world.journal.transaction() as unit:
        unit.set_switch(switch, actor="mira")
    page.set_viewport_size({"width": 375, "height": 667})
    start = page.url.rstrip("/")
    for path in ("/", "/incidents", "/incidents/inc-1", "/silences", "/audit"):
        page.goto(start + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, f"{path} is {width} px wide"
    page.goto(start + "/incidents/inc-1")
    for place in ("[data-key=apr-1-1]", "#evidence"):
        table = page.locator(f"{place} table")
        threshold = table.get_by_role("cell", name="85.0 %")
        box = threshold.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 375, "the threshold stands beside the value, not beyond the screen"
    banner = page.get_by_text("Actions are paused").locator("..")
    expect(banner).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert complaints == []


def test_an_action_under_way_is_stopped_and_the_page_says_so(
    page: Page, world: World, complaints: list[str]
) -> None:
    action = world.act(world.fall_ill())
    page.goto(f"{page.url}incidents/inc-1")
    page.get_by_label("You are").fill("mira")
    form = page.get_by_role("form", name="Stop the action under way")
    form.get_by_label("Why it shall go no further").fill("the campaign explains it")
    form.get_by_role("button", name="Stop it").click()
    expect(page.locator("#running")).to_contain_text("Rollback: mira cancelled it: the campaign explains it")
    expect(form).to_have_count(0)
    with world.journal.reading() as unit:
        stopped = unit.action(action.id)
    assert stopped is not None
    assert stopped.steps[-1].name == "cancel"
    page.get_by_text("The plan in full").click()
    expect(page.locator("#plans")).to_contain_text("How it is undone")
    assert complaints == []


def test_whether_to_keep_or_to_undo_is_asked_in_these_words(
    page: Page, world: World, complaints: list[str]
) -> None:
    plan = world.fall_ill()
    action = world.act(plan)
    with world.journal.transaction() as unit:
        desired = unit.desired(plan.model)
        assert desired is not None
        asks = question(action, plan, desired, why="no labels so far", now_us=START_US)
        assert asks is not None
        unit.add_plan(asks, request(asks, now_us=START_US, ttl_s=3_600), actor="agent")
    page.get_by_label("You are").fill("mira")
    ticket = page.get_by_role("article", name="Undo it, or keep it?")
    expect(ticket).to_contain_text("Approve to undo it, reject to keep it.")
    expect(ticket.get_by_role("button", name="Undo it")).to_be_visible()
    ticket.get_by_label("Reason (needed to keep it)").fill("labels come tomorrow")
    ticket.get_by_role("button", name="Keep it").click()
    expect(page.locator("#timeline")).to_contain_text("Rejected by mira (console): labels come tomorrow")
    assert complaints == []
