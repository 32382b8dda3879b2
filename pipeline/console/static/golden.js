// Cases whose answer is known: how people do on them, which there are, and which could be.

import { get, post, remove } from "./api.js";
import { fill, h, refill, relative, spoken } from "./dom.js";
import { on } from "./keys.js";
import { rates } from "./rates.js";
import { toast } from "./toast.js";

const OUTCOMES = ["allow", "label", "limit", "remove"];
const LIVE = 30000;
const golden = document.querySelector("#golden tbody");
const candidates = document.querySelector("#candidates tbody");
const queue = document.getElementById("queue");
const since = document.getElementById("since");
const wanted = document.querySelector("#find input");
const more = document.getElementById("more");
let last = null;
let turn = 0;

const told = (refused) => toast(refused.message);
const link = (each) => h("a", { href: `/cases/${each.task_id}` }, each.media_id);
const nothing = (columns, words) => h("tr", {}, h("td", { colspan: columns, class: "muted" }, words));
const mixed = (share) => (share > 0 ? `About ${Number((100 * share).toFixed(1))} % of the cases that people get here are golden, by the policy.`
  : "The policy mixes none into this queue: set golden_share, else nobody is asked.");

/** Do it to the row of a button; the focus goes on to the row that takes its place, or to the field. */
async function act(button, doing) {
  const body = button.closest("tbody");
  const index = [...body.children].indexOf(button.closest("tr"));
  button.disabled = true;
  try {
    await doing();
  } catch (refused) {
    button.disabled = false;
    told(refused);
    return;
  }
  const row = body.children[Math.min(index, body.children.length - 1)];
  (row?.querySelector("button") ?? wanted).focus();
}

function known(task) {
  const said = Object.entries(task.answers).sort((a, b) => b[1] - a[1]).map(([each, count]) => `${count} × ${each}`).join(", ");
  const retire = h("button", { type: "button", "aria-label": `Retire ${task.media_id}`, onclick: () => act(retire, async () => {
    await remove(`/golden/${task.task_id}`);
    await list();
    await find();
    const back = () => post("/golden", { task_id: task.task_id, action: task.action }).then(list).then(find).catch(told);
    toast(`${task.media_id} is retired; what people answered still counts.`, { action: back, label: "Undo", seconds: 12 });
  }) }, "Retire");
  return h("tr", {}, h("td", {}, link(task)), h("td", {}, spoken(task.harm)), h("td", {}, h("strong", {}, spoken(task.action))),
    h("td", { class: task.answered && task.right < task.answered / 2 ? "warn" : "" }, task.answered ? `${task.right} of ${task.answered}` : h("span", { class: "muted" }, "not asked yet")),
    h("td", {}, said || "–"), h("td", {}, relative(task.added_at), h("div", { class: "muted small" }, `by ${task.added_by}`)), h("td", {}, retire));
}

function possible(task) {
  const answer = h("select", { "aria-label": `Right answer to ${task.media_id}` }, OUTCOMES.map((each) => h("option", { value: each, selected: each === task.action }, each)));
  const add = h("button", { type: "button", "aria-label": `Add ${task.media_id}`, onclick: () => act(add, async () => {
    await post("/golden", { task_id: task.task_id, action: answer.value });
    toast(`${task.media_id} is golden in ${task.queue}: ${answer.value}.`);
    await list();
    await find();
  }) }, "Add");
  return h("tr", {}, h("td", {}, link(task)), h("td", {}, task.queue), h("td", {}, spoken(task.harm)),
    h("td", {}, spoken(task.action), h("div", { class: "muted small" }, `${relative(task.decided_at)} by ${task.decided_by}`)), h("td", {}, h("div", { class: "row" }, answer, add)));
}

async function quality() {
  const found = (await get(`/quality?days=${since.value}`)).golden.filter((line) => line.name === queue.value);
  fill(document.getElementById("rates"), rates("How well people decide", found, "Queue", "Restrictions that were right", "Right ones that were found",
    "Label, limit and remove count as one here: a restriction. The answers themselves are below."));
}

async function list(on = false) {
  turn += 1;
  const mine = turn;
  const found = await get(`/queues/${encodeURIComponent(queue.value)}/golden?limit=50${on === true ? `&after=${last}` : ""}`);
  if (mine !== turn) return; // another queue was chosen meanwhile
  if (on === true) golden.append(...found.tasks.map(known));
  else refill(golden, found.tasks.length ? found.tasks.map(known) : nothing(7, "None yet."));
  last = found.tasks.at(-1)?.task_id ?? last;
  more.hidden = found.tasks.length < 50;
  const share = document.getElementById("share");
  share.textContent = mixed(found.share);
  share.className = found.share > 0 ? "muted" : "note";
}

async function find() {
  const name = wanted.value.trim();
  candidates.setAttribute("aria-busy", "true");
  try {
    const found = await get(`/golden/candidates?limit=10&${new URLSearchParams(name ? { media_id: name } : { queue: queue.value })}`);
    refill(candidates, found.length ? found.map(possible) : nothing(5, name ? "No decided case of this upload is in your queues, or it is golden already." : "Nothing was decided here yet."));
  } finally {
    candidates.removeAttribute("aria-busy");
  }
}

const everything = () => Promise.all([list(), find(), quality()]);
queue.addEventListener("change", () => everything().catch(told));
since.addEventListener("change", () => quality().catch(told));
more.addEventListener("click", () => list(true).catch(told));
document.getElementById("find").addEventListener("submit", (event) => { event.preventDefault(); find().catch(told); });
on("a", "add: find a decided case by its upload", () => wanted.focus());

const queues = await get("/queues");
fill(queue, queues.map((each) => h("option", { value: each.name }, each.name)));
if (queues.length) {
  await everything();
  setInterval(() => { if (!document.hidden) quality().catch(told); }, LIVE);
}
