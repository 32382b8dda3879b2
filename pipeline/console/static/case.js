// One case at a time: claimed, looked at, decided, and on to the next.

import { get, post, signIn } from "./api.js";
import { ask } from "./ask.js";
import { chosen, expose, Veil } from "./care.js";
import { Decision } from "./decide.js";
import { fill, h, relative, spoken } from "./dom.js";
import { context, history, provenance, signals, why } from "./evidence.js";
import { on } from "./keys.js";
import "./lease.js";
import { faces, stage } from "./stage.js";
import { toast } from "./toast.js";

const root = document.getElementById("case");
const only = root.dataset.task;
const queue = new URLSearchParams(location.search).get("queue");
const me = await get("/me");
const worked = me.exposure.reduce((sum, each) => sum + each.seconds, 0);

let now = null;
let last = lately();
let stop = () => {};

/** The last decision, also after the page was loaded again, while it can be taken back. */
function lately() {
  const kept = JSON.parse(sessionStorage.getItem("last") ?? "null");
  return kept && new Date(kept.until) > new Date() ? kept.id : null;
}

async function next() {
  stop();
  stop = () => {};
  now = null;
  // Between two cases nothing that somebody typed is lost.
  if (me.renew_at && new Date(me.renew_at) < new Date()) return signIn();
  try {
    const view = only ? await get(`/tasks/${only}`) : await post("/work/claim", queue ? { queues: [queue] } : {});
    if (view) open(view);
    else nothing();
  } catch (refused) {
    fill(root, h("p", { class: "centre" }, refused.message, " ", h("a", { href: "/queues" }, "Back to the queues")));
  }
  root.setAttribute("aria-busy", "false");
}

function nothing() {
  fill(root, h("div", { class: "centre" }, h("h1", {}, "Nothing waits for you."), h("p", { class: "muted" }, queue ? `The queue ${queue} has no case that you could take.` : "Your queues have no case that you could take."),
    h("p", {}, h("a", { class: "button", href: "/queues" }, "Back to the queues"), " ", h("button", { type: "button", onclick: next }, "Look again"))));
  document.title = "Nothing waits – Unmask";
}

function open(view) {
  const care = chosen(me.preferences, view.task.harm);
  document.title = `${spoken(view.task.harm)} – Unmask`;
  if (view.warning && care.warn && !view.opened) {
    const go = h("button", { class: "primary", type: "button", onclick: () => open({ ...view, opened: true }) }, "Go on", h("kbd", {}, "Enter"));
    fill(root, h("div", { class: "warning", role: "alertdialog", "aria-label": "Warning" }, h("h1", {}, view.warning),
      h("p", {}, "It will be blurred and muted at first. You may skip it; “not today” is reason enough."),
      h("div", { class: "row" }, go, h("button", { type: "button", onclick: () => skip(view) }, "Skip", h("kbd", {}, "s")))));
    now = { view, decision: { send: () => open({ ...view, opened: true }), choose() {} }, stage: null, veil: null };
    go.focus();
    return;
  }
  const shown = stage(view, care);
  const decision = new Decision(view, { send: (said) => send(view, said), skip: () => skip(view), escalate: () => escalate(view), release: () => release(view) });
  const crops = view.scores_hidden ? null : faces(view, (at) => shown.go(at));
  fill(root,
    h("div", { class: "case-head" }, h("h1", {}, spoken(view.task.harm)), h("span", { class: "chip" }, view.task.queue),
      h("span", { class: `chip ${view.severity >= 4 ? "bad" : ""}` }, `severity ${view.severity}`), h("span", { class: "chip" }, `now: ${spoken(view.task.provisional)}`),
      view.looks ? h("span", { class: "chip warn" }, "second look") : null,
      h("span", { class: "clocks" }, h("span", { class: new Date(view.task.deadline) < new Date() ? "bad" : "", title: new Date(view.task.deadline).toLocaleString() }, `due ${relative(view.task.deadline)}`, view.task.clock ? ` (${spoken(view.task.clock)})` : ""),
        view.lease_id ? h("lease-clock", { lease: view.lease_id, until: view.leased_until, role: "timer" }) : null)),
    h("div", { class: "case-grid" }, h("div", {}, shown.element, shown.below, crops),
      h("div", { class: "side" }, view.lease_id ? decision.element : null, signals(view), why(view), context(view), provenance(view), history(view))));
  const veil = new Veil(shown.element, care);
  now = { view, stage: shown, decision, veil };
  if (view.lease_id) stop = expose(view.task.task_id, veil, me.preferences, worked);
  document.getElementById("main").focus({ preventScroll: true });
}

async function send(view, said) {
  try {
    if (view.scores_hidden) {
      open({ ...(await post(`/work/${view.lease_id}/first`, { action: said.action })), opened: true });
      toast("Now with the scores: decide again.");
      return;
    }
    const done = await post(`/work/${view.lease_id}/answer`, said);
    last = done.answer_id;
    sessionStorage.setItem("last", JSON.stringify({ id: last, until: done.undo_until }));
    const left = (new Date(done.undo_until).getTime() - Date.now()) / 1000;
    const words = { settled: `Decided: ${said.action}.`, second: "Noted. Another person looks too.", disputed: "You two disagree: a lead decides." }[done.stands];
    toast(done.swept.length > 1 ? `${words} ${done.swept.length} uploads.` : words, { action: undo, label: "Undo (u)", seconds: Math.max(3, left) });
    await next();
  } catch (refused) {
    toast(refused.message);
  }
}

async function undo() {
  if (!last) return;
  try {
    const view = await post(`/answers/${last}/undo`);
    last = null;
    stop();
    open({ ...view, opened: true });
  } catch (refused) {
    toast(refused.message);
  }
}

async function skip(view) {
  if (!view.lease_id) return; // only read
  const said = await ask("Skip this case", h("label", {}, "Why", h("input", { name: "reason", required: "", maxlength: 500, value: "not today" })), "Skip");
  if (!said) return;
  try {
    await post(`/work/${view.lease_id}/skip`, { reason: said.reason });
    await next();
  } catch (refused) {
    toast(refused.message);
  }
}

async function release(view) {
  if (!view.lease_id) return; // only read
  stop();
  try {
    await post(`/work/${view.lease_id}/release`);
    location.assign("/queues");
  } catch (refused) {
    toast(refused.message);
  }
}

async function escalate(view) {
  if (!view.lease_id) return; // only read
  const queues = (await get("/queues")).filter((each) => each.name !== view.task.queue);
  const said = await ask("Move to another queue", h("label", {}, "Queue", h("select", { name: "queue" }, queues.map((each) => h("option", { value: each.name }, `${each.name}: ${each.what}`)))), "Move");
  if (!said) return;
  try {
    await post("/tasks/escalate", { task_ids: [view.task.task_id, ...view.siblings.map((each) => each.task_id)], queue: said.queue });
    await next();
  } catch (refused) {
    toast(refused.message);
  }
}

root.addEventListener("ended", (event) => { stop(); toast(event.detail, { seconds: 12 }); fill(root, h("p", { class: "centre" }, event.detail, " ", h("button", { type: "button", onclick: next }, "Take another"))); });

const does = (what) => () => { if (now) what(now); };
on("1", "allow", does((n) => n.decision.choose("allow")));
on("2", "label", does((n) => n.decision.choose("label")));
on("3", "limit", does((n) => n.decision.choose("limit")));
on("4", "remove", does((n) => n.decision.choose("remove")));
on("Enter", "decide as chosen (in a field: with Ctrl)", does((n) => n.decision.send()));
on("r", "why: the reason", does((n) => n.decision.focus?.("harm")));
on("y", "what you saw yourself", does((n) => n.decision.focus?.("seen")));
on("n", "write a note", does((n) => n.decision.focus?.("notes")));
on("u", "take the last decision back", () => undo());
on("s", "skip", does((n) => skip(n.view)));
on("e", "move to another queue", does((n) => escalate(n.view)));
on("q", "give it back, and go to the queues", does((n) => release(n.view)));
on(" ", "hold: look without the blur", does((n) => n.veil?.peek()), does((n) => n.veil?.unpeek()));
on("b", "keep it sharp, or blur again", does((n) => n.veil?.clear()));
on("g", "large or small", does((n) => n.veil?.large()));
on("m", "sound on or off", does((n) => n.stage?.mute()));
on("l", "play or pause", does((n) => n.stage?.play()));
on("j", "next point of evidence", does((n) => n.stage?.jump(1)));
on("k", "point of evidence before", does((n) => n.stage?.jump(-1)));
on("p", "strongest evidence", does((n) => n.stage?.peak()));
on("ArrowLeft", "a frame back", does((n) => n.stage?.step(-1)));
on("ArrowRight", "a frame on", does((n) => n.stage?.step(1)));
on("x", "beside it: noise", does((n) => n.stage?.look?.("noise")));
on("c", "beside it: compression", does((n) => n.stage?.look?.("compression")));
on("v", "beside it: spectrum", does((n) => n.stage?.look?.("spectrum")));
on("z", "full size", does((n) => n.stage?.enlarge?.()));
addEventListener("pagehide", () => stop());

await next();
