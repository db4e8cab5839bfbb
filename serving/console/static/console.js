"use strict";

const byId = (id) => document.getElementById(id);
const announce = (text) => { byId("announce").textContent = text; };

// Theme: the system's, until the person says otherwise; then remembered.
const themeButton = byId("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
const showTheme = () => {
  themeButton.setAttribute("aria-pressed", String(isDark()));
};
themeButton.addEventListener("click", () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("homeostat-theme", next);
  showTheme();
});
systemDark.addEventListener("change", showTheme);
showTheme();

// Who decides. The token lives as long as the tab.
const remember = (field, storage, key) => {
  if (!field) return;
  field.value = storage.getItem(key) ?? "";
  field.addEventListener("input", () => storage.setItem(key, field.value.trim()));
};
remember(byId("who"), localStorage, "homeostat-who");
remember(byId("token"), sessionStorage, "homeostat-token");

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const token = byId("token")?.value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error([answer.detail, ...(answer.errors ?? [])].join(" "));
  return answer;
}

async function decide(form, verdict) {
  const card = form.closest(".ticket");
  const answer = form.querySelector(".answer");
  const by = byId("who").value.trim();
  const reason = form.elements.reason.value.trim();
  answer.textContent = "";
  if (!by) {
    answer.textContent = "Say who you are first (top of the page): the decision is recorded under your name.";
    byId("who").focus();
    return;
  }
  if (verdict === "reject" && !reason) {
    answer.textContent = "Say why you reject: the reason goes on record.";
    form.elements.reason.focus();
    return;
  }
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const path = `/api/v1/approvals/${encodeURIComponent(card.dataset.key)}/${verdict}`;
    const ticket = await post(path, { by, reason: reason || null, plan_hash: card.dataset.hash, channel: "console" });
    const text = ticket.state === "pending"
      ? `Recorded: ${ticket.votes.length} of ${ticket.quorum} have approved.`
      : `${ticket.state === "approved" ? "Approved" : "Rejected"} by ${ticket.decided_by}.`;
    const told = document.createElement("p");
    told.className = "outcome";
    told.textContent = text;
    form.replaceWith(told);
    announce(text);
  } catch (problem) {
    answer.textContent = problem instanceof TypeError ? "Homeostat does not answer. Nothing was decided." : problem.message;
    buttons.forEach((button) => { button.disabled = false; });
  }
}

async function snooze(form) {
  const by = named(form);
  const path = `/api/v1/approvals/${encodeURIComponent(form.closest(".ticket").dataset.key)}/snooze`;
  if (by) told(form, path, { by, minutes: 30, channel: "console" }, "Snoozed for half an hour.");
}

async function say(form, said) {
  const answer = form.querySelector(".answer");
  const by = byId("who").value.trim();
  answer.textContent = "";
  if (!by) {
    answer.textContent = "Say who you are first (top of the page): it is recorded under your name.";
    byId("who").focus();
    return;
  }
  try {
    const subject = `/api/v1/incidents/${encodeURIComponent(form.dataset.key)}`;
    const why = form.elements.why.value.trim() || null;
    if (said === "cause") {
      const { value, selectedOptions } = form.elements.cause;
      await post(`${subject}/cause`, { cause: value, by, why });
      answer.textContent = `Recorded: ${selectedOptions[0].textContent}. It counts where an incident shows the same again.`;
      setTimeout(refresh, 1500);
      return;
    }
    const told = await post(`${subject}/feedback`, { said, by, why });
    const kinds = [...new Set(told.map((each) => each.kind.replaceAll("_", " ")))].join(", ");
    answer.textContent = `Recorded: ${said} (${kinds}). It takes effect with the next window.`;
    setTimeout(refresh, 1500); // it has its place in the log by then
  } catch (problem) {
    answer.textContent = problem instanceof TypeError ? "Homeostat does not answer. Nothing was said." : problem.message;
  }
}

document.addEventListener("click", (event) => {
  const sleeper = event.target.closest("button.snooze");
  if (sleeper) snooze(sleeper.form);
  const button = event.target.closest("form.say button");
  if (button) say(button.form, button.value);
});

function named(form) {
  const by = byId("who").value.trim();
  form.querySelector(".answer").textContent = "";
  if (!by) {
    form.querySelector(".answer").textContent = "Say who you are first (top of the page): it is recorded under your name.";
    byId("who").focus();
  }
  return by;
}

async function told(form, path, body, text) {
  const answer = form.querySelector(".answer");
  try {
    announce(text(await post(path, body)));
    form.reset();
    refresh();
  } catch (problem) {
    answer.textContent = problem instanceof TypeError ? "Homeostat does not answer. Nothing was changed." : problem.message;
  }
}

function silence(form) {
  const by = named(form);
  if (!by) return;
  const fields = form.elements;
  const matchers = ["model", "kind", "feature"].filter((name) => fields[name].value.trim()).map((name) => `${name}=${fields[name].value.trim()}`);
  const ends_at = new Date(Date.now() + 3600e3 * Number(fields.hours.value)).toISOString();
  told(form, "/api/v1/silences", { matchers, ends_at, by, reason: fields.reason.value.trim() }, (made) => {
    const what = matchers.join(" and ");
    if (made.outcome === "set") return `Silenced: ${what}.`;
    const until = new Date(made.ends_at).toLocaleString();
    if (made.outcome === "known") return `${made.id} of ${made.author} silences ${what} already, until ${until}.`;
    return `${made.id} of ${made.author} silences ${what} already, and lasts until ${until} now.`;
  });
}

function endSilence(form) {
  const by = named(form);
  if (by) told(form, `/api/v1/silences/${encodeURIComponent(form.dataset.key)}/end`, { by }, () => "Ended.");
}

function stop(form) {
  const by = named(form);
  const path = `/api/v1/actions/${encodeURIComponent(form.dataset.key)}/cancel`;
  if (by) told(form, path, { by, reason: form.elements.why.value.trim() }, () => "It goes no further.");
}

document.addEventListener("submit", (event) => {
  if (event.target.matches("form.stop")) {
    event.preventDefault();
    stop(event.target);
    return;
  }
  if (event.target.matches("form.silence, form.end")) {
    event.preventDefault();
    (event.target.matches("form.end") ? endSilence : silence)(event.target);
    return;
  }
  if (event.target.matches("form.say")) event.preventDefault();
  if (!event.target.matches("form.decide")) return;
  event.preventDefault();
  const typedReason = document.activeElement?.name === "reason";
  decide(event.target, typedReason ? "reject" : event.submitter?.value ?? "reject");
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = button.dataset.copy;
    return;
  }
  setTimeout(() => { button.textContent = before; }, 1500);
});

byId("verify")?.addEventListener("click", async (event) => {
  const shown = byId("verified");
  event.target.disabled = true;
  shown.className = "";
  shown.textContent = "Recomputing every hash…";
  try {
    const response = await fetch("/api/v1/audit/verify");
    const report = await response.json();
    if (!response.ok) throw new Error(report.detail);
    shown.className = report.ok ? "good" : "bad";
    shown.textContent = report.ok
      ? `● Intact: ${report.entries} entries, every checkpoint agrees.`
      : `■ Changed: ${report.problems.join(" ")}`;
  } catch (problem) {
    shown.className = "bad";
    shown.textContent = `■ Not verified: ${problem.message}`;
  }
  event.target.disabled = false;
});

// Refreshing: the page is asked for again, and what differs is put in place. A ticket that is still there is kept
// as it is, with what somebody is typing into it.
function mergeKeyed(old, fresh) {
  const kept = new Map([...old.children].map((child) => [child.dataset.key, child]));
  old.replaceChildren(...[...fresh.children].map((child) => kept.get(child.dataset.key) ?? child));
}

function replaceContent(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const open = [...old.querySelectorAll("details[open]")].map((each) => each.id);
  old.replaceChildren(...fresh.childNodes);
  open.forEach((id) => byId(id)?.setAttribute("open", ""));
}

let refreshing = false;
let again = false;
async function refresh() {
  if (refreshing) { again = true; return; }
  refreshing = true;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(String(response.status));
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (!fresh) continue;
      if (old.dataset.live === "keyed") mergeKeyed(old, fresh);
      else replaceContent(old, fresh);
    }
    countDown();
  } catch {
    freshness("late", "The page could not be refreshed; trying again");
    setTimeout(refresh, 3000);
  } finally {
    refreshing = false;
    if (again) { again = false; refresh(); }
  }
}

function freshness(state, text) {
  byId("freshness").dataset.state = state;
  byId("fresh-text").textContent = text;
}
const clock = () => new Date().toISOString().slice(11, 19);

// The live timeline. A line that is there already is not put in again.
function addMoment(html) {
  const list = byId("timeline");
  const line = new DOMParser().parseFromString(html, "text/html").querySelector("li");
  if (!list || !line) return;
  const known = [...list.children].some((each) => each.dataset.key === line.dataset.key);
  if (known) return;
  const at = line.querySelector("time").dateTime;
  const next = [...list.children].find((each) => each.querySelector("time").dateTime <= at);
  list.insertBefore(line, next ?? null);
  line.classList.add("new");
  byId("no-moments")?.remove();
  while (list.children.length > Number(list.dataset.limit)) list.lastElementChild.remove();
  announce(line.querySelector("p").textContent);
}

if (document.querySelector("[data-live]")) {
  const after = document.body.dataset.after;
  const source = new EventSource(`/console/events${after ? `?after=${after}` : ""}`);
  source.addEventListener("moment", (event) => addMoment(event.data));
  source.addEventListener("changed", refresh);
  source.addEventListener("beat", () => freshness("live", `Live, as of ${clock()} UTC`));
  source.addEventListener("trouble", (event) => freshness("late", event.data));
  source.onerror = () => freshness("late", `Connection lost at ${clock()} UTC, trying again`);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

function countDown() {
  for (const each of document.querySelectorAll("[data-until]")) {
    const left = Math.round((Date.parse(each.dataset.until) - Date.now()) / 1000);
    const minutes = Math.floor(left / 60);
    each.textContent = left <= 0 ? "over" : minutes >= 60 ? `in ${Math.floor(minutes / 60)} h ${minutes % 60} min` : `in ${minutes} min ${left % 60} s`;
  }
}
countDown();
setInterval(countDown, 1000);
