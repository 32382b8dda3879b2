// How reviewing goes, and tasks in bulk.

import { get, post } from "./api.js";
import { ask } from "./ask.js";
import { fill, h, relative, spoken } from "./dom.js";
import "./keys.js";
import { range, rates } from "./rates.js";
import { toast } from "./toast.js";

const chosen = new Set();
const body = document.querySelector("#tasks tbody");
const select = document.getElementById("queue"); // not there for who sees no cases
const bulk = document.getElementById("decide") !== null;
let last = null;
let turn = 0;

async function quality() {
  const found = await get(`/quality?days=${document.getElementById("since").value}`);
  fill(document.getElementById("quality"),
    h("section", { class: "card" }, h("h3", {}, "In short"), h("dl", { class: "facts" },
      h("dt", {}, "decided by people"), h("dd", {}, String(found.reviewed)),
      h("dt", {}, "changed their mind once they saw the scores"), h("dd", {}, range(found.changed)),
      h("dt", {}, "appeals that ended milder"), h("dd", {}, range(found.overturned)))),
    rates("Queues", found.queues, "Queue", "Restricted, of those asked about", "Of all restricted"),
    rates("People, on cases whose answer is known", found.golden, "Queue", "Restrictions that were right", "Right ones that were found"),
    rates("Rules", found.rules, "Rule", "People agreed", "Of all that people restricted", "Of what was reviewed: nobody knows how much was never suspected."),
    rates("Kinds of manipulation", found.families, "Kind", "People saw it too", "Of all that people saw"));
}

function row(task) {
  const box = bulk && h("input", { type: "checkbox", "aria-label": `Choose ${task.media_id}`, onchange: () => { box.checked ? chosen.add(task.task_id) : chosen.delete(task.task_id); told(); } });
  return h("tr", {}, box && h("td", {}, box), h("td", {}, h("a", { href: `/cases/${task.task_id}` }, task.media_id)), h("td", {}, spoken(task.harm)),
    h("td", { class: "number" }, String(task.priority)), h("td", { class: new Date(task.deadline) < new Date() ? "bad" : "" }, relative(task.deadline), task.clock ? h("div", { class: "muted small" }, spoken(task.clock)) : null),
    h("td", {}, spoken(task.provisional)), h("td", { class: "small" }, task.reasons.join(" ")));
}

function told() {
  if (!bulk) return;
  document.getElementById("chosen").textContent = chosen.size ? `${chosen.size} chosen` : "none chosen";
  for (const id of ["assign", "hold", "escalate", "decide"]) document.getElementById(id).disabled = !chosen.size;
}

async function list(more = false) {
  turn += 1;
  const mine = turn;
  if (!more) { // rows that stayed would show as chosen what no longer is
    last = null;
    chosen.clear();
    fill(body);
    told();
  }
  const tasks = await get(`/queues/${select.value}/tasks?limit=50${last ? `&after=${last}` : ""}`);
  if (mine !== turn) return; // another queue was chosen meanwhile
  body.append(...tasks.map(row));
  if (!body.children.length) fill(body, h("tr", {}, h("td", { colspan: 7, class: "muted" }, "Nothing waits here.")));
  last = tasks.at(-1)?.task_id ?? last;
  document.getElementById("more").hidden = tasks.length < 50;
  told();
}

async function change(path, said) {
  try {
    const done = await post(path, { task_ids: [...chosen], ...said });
    toast(`${done.tasks} tasks.`);
    await list();
  } catch (refused) {
    toast(refused.message);
  }
}

if (bulk) {
  document.getElementById("assign").addEventListener("click", async () => {
    const known = new Map((await get("/at-work")).map((each) => [each.person_id, each.name]));
    const said = await ask("Assign to one person", [h("label", {}, "Their name (empty: anybody)", h("input", { name: "to", maxlength: 256, list: "known" })),
      h("datalist", { id: "known" }, [...known].map(([id, name]) => h("option", { value: id }, name)))], "Assign");
    if (said) await change("/tasks/assign", { to: said.to || null });
  });
  document.getElementById("hold").addEventListener("click", async () => {
    const said = await ask("Hold back", h("label", {}, "Until", h("input", { name: "until", type: "datetime-local" })), "Hold");
    if (said) await change("/tasks/hold", { until: said.until ? new Date(said.until).toISOString() : null });
  });
  document.getElementById("escalate").addEventListener("click", async () => {
    const others = [...select.options].filter((each) => each.value !== select.value).map((each) => h("option", { value: each.value }, each.text));
    const said = await ask("Move to another queue", h("label", {}, "Queue", h("select", { name: "queue" }, others)), "Move");
    if (said) await change("/tasks/escalate", { queue: said.queue });
  });
  document.getElementById("decide").addEventListener("click", async () => {
    const outcomes = ["allow", "label", "limit", "remove"].map((each) => h("option", { value: each }, each));
    const said = await ask(`Decide ${chosen.size} tasks at once`, [h("label", {}, "Outcome", h("select", { name: "action" }, outcomes)), h("label", {}, "Reason", h("input", { name: "reason", maxlength: 2000 }))], "Decide all");
    if (said) await change("/tasks/decide", said);
  });
  document.getElementById("all").addEventListener("change", (event) => { for (const box of body.querySelectorAll("input")) if (box.checked !== event.target.checked) box.click(); });
}
document.getElementById("since").addEventListener("change", () => quality().catch((refused) => toast(refused.message)));

await quality();
if (select) {
  document.getElementById("more").addEventListener("click", () => list(true).catch((refused) => toast(refused.message)));
  select.addEventListener("change", () => list().catch((refused) => toast(refused.message)));
  const queues = await get("/queues");
  fill(select, queues.map((each) => h("option", { value: each.name }, `${each.name} (${each.depth})`)));
  if (queues.length) await list();
}
