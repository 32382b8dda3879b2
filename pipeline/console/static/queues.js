// The queues as they are now, kept up to date by server-sent events.

import { get } from "./api.js";
import { fill, h, refill, relative, span, spoken } from "./dom.js";
import { on } from "./keys.js";

const queues = new Map();
const body = document.querySelector("#queues tbody");
const live = document.getElementById("live");
const working = document.querySelector("#working tbody");
const mayWork = Boolean(document.getElementById("next"));

const EDGES = [0, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 48 * 3600];
const NAMES = ["late", "15 min", "1 h", "4 h", "12 h", "1 day", "2 days", "more"];

function histogram(slack) {
  const counts = new Array(EDGES.length + 1).fill(0);
  for (const seconds of slack) counts[EDGES.findIndex((edge) => seconds < edge) === -1 ? EDGES.length : EDGES.findIndex((edge) => seconds < edge)] += 1;
  const most = Math.max(1, ...counts);
  const words = counts.map((count, i) => (count ? `${count} ${i === 0 ? "late" : `within ${NAMES[i]}`}` : "")).filter(Boolean).join(", ");
  const bars = counts.map((count, i) => {
    const height = Math.round((count / most) * 32);
    return h("rect", { x: i * 25 + 2, y: 34 - height, width: 21, height, class: i === 0 ? "late" : i < 3 ? "soon" : "" },
      h("title", {}, `${count}: ${NAMES[i]}`));
  });
  return h("svg", { class: "histogram", viewBox: "0 0 200 36", role: "img", "aria-label": words || "nothing waits" },
    bars, h("line", { x1: 0, x2: 200, y1: 35, y2: 35 }));
}

const scale = () => h("svg", { class: "scale", viewBox: "0 0 200 14", "aria-hidden": "true" },
  ["late", "15m", "1h", "4h", "12h", "1d", "2d", "+"].map((name, i) => h("text", { x: i * 25 + 12.5, y: 11 }, name)));
document.getElementById("slack").append(scale());

function row(queue) {
  const link = `/case?queue=${encodeURIComponent(queue.name)}`;
  return h("tr", { class: queue.depth ? "" : "empty", "data-queue": queue.name },
    h("td", {}, h("div", { class: "name" }, queue.name), h("div", { class: "muted small" }, queue.what)),
    h("td", { class: "number" }, h("span", { class: "depth" }, String(queue.depth)),
      queue.held ? h("div", { class: "muted small" }, `${queue.held} held back`) : null),
    h("td", { class: `number ${queue.overdue ? "bad" : ""}` }, String(queue.overdue)),
    h("td", { class: `number ${queue.breaches ? "warn" : ""}`, title: queue.breaches === null ? "No answers lately: the pace is unknown." : "" },
      queue.breaches === null ? "–" : String(queue.breaches)),
    h("td", {}, queue.oldest ? relative(queue.oldest) : "–"),
    h("td", {}, histogram(queue.slack)),
    h("td", {}, queue.at_work.length ? queue.at_work.join(", ") : h("span", { class: "muted" }, "nobody"),
      h("div", { class: "muted small pace", title: queue.handling_measured ? "" : "Nobody answered lately: by the policy." }, `${span(queue.handling_seconds)} ${queue.handling_measured ? "a case" : "assumed"}`)),
    h("td", {}, mayWork && queue.depth ? h("a", { class: "button", href: link }, "Work", h("span", { class: "hidden" }, ` ${queue.name}`)) : null));
}

function show() {
  const all = [...queues.values()];
  refill(body, all.length ? all.map(row) : h("tr", {}, h("td", { colspan: 8, class: "muted" }, "No queue is yours. Ask a lead.")));
  const depth = all.reduce((sum, queue) => sum + queue.depth, 0);
  const late = all.reduce((sum, queue) => sum + queue.overdue, 0);
  document.getElementById("summary").textContent = depth ? `${depth} cases wait, ${late} of them late.` : "Nothing waits. Well done.";
}

// Who holds what, for leads. A lease that ends unheard of is gone from the page too.
let held = [];
const left = (until) => Math.max(0, Math.round((new Date(until).getTime() - Date.now()) / 1000));
const countdown = (seconds) => `in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

function person(each) {
  const more = each.tasks > 1 ? ` and ${each.tasks - 1} near ${each.tasks > 2 ? "copies" : "copy"}` : "";
  return h("tr", { "data-person": each.person_id }, h("td", { title: each.person_id }, each.name), h("td", {}, each.queue),
    h("td", {}, h("a", { href: `/cases/${each.task_id}` }, each.media_id), h("div", { class: "muted small" }, `${spoken(each.harm)}${more}`)),
    h("td", {}, span(Math.max(0, (Date.now() - new Date(each.since).getTime()) / 1000))), h("td", { "data-until": each.until }, countdown(left(each.until))));
}

function showWorking() {
  const now = held.filter((each) => left(each.until) > 0);
  refill(working, now.length ? now.map(person) : h("tr", {}, h("td", { colspan: 5, class: "muted" }, "Nobody holds a case.")));
}

function tick() {
  const cells = [...working.querySelectorAll("[data-until]")];
  if (cells.some((cell) => left(cell.dataset.until) === 0)) showWorking();
  else for (const cell of cells) cell.textContent = countdown(left(cell.dataset.until));
}

for (const queue of await get("/queues")) queues.set(queue.name, queue);
show();
if (working) {
  held = await get("/at-work");
  showWorking();
  setInterval(tick, 1000);
}

function listen() {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("queue", (event) => {
    const queue = JSON.parse(event.data);
    queues.set(queue.name, queue);
    show();
  });
  events.addEventListener("at-work", (event) => {
    held = JSON.parse(event.data);
    showWorking();
  });
  events.addEventListener("open", () => { live.textContent = "live"; live.classList.add("on"); });
  events.addEventListener("error", () => {
    live.textContent = "connecting again";
    live.classList.remove("on");
    // The browser gives up where it was refused: by whom nobody is any more (then this goes to the sign-in), or just now.
    if (events.readyState === EventSource.CLOSED) get("/me").catch(() => {}).then(() => setTimeout(listen, 5000));
  });
}
listen();
setInterval(() => { show(); if (working) showWorking(); }, 30000);
if (mayWork) on("n", "take the most urgent case", () => location.assign("/case"));
