// Who may come in, what they may, and their sessions.

import { get, post } from "./api.js";
import { ask } from "./ask.js";
import { h, refill, relative } from "./dom.js";
import "./keys.js";
import { toast } from "./toast.js";

const ROLES = ["reviewer", "lead", "admin", "auditor", "readonly", "integration"];
const body = document.querySelector("#people tbody");
const me = await get("/me");

const counted = (sessions) => `${sessions} session${sessions === 1 ? "" : "s"} ended`;
const box = (name, label, checked) => h("label", { class: "check" }, label, h("input", { type: "checkbox", name, checked }));
const chosen = (said, kind) => Object.keys(said).filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));

async function change(person, queues) {
  const said = await ask(`What ${person.name} may`, [
    h("fieldset", { class: "plain" }, h("legend", {}, "Roles"), ROLES.map((role) => box(`role ${role}`, role, person.roles.includes(role)))),
    h("fieldset", { class: "plain" }, h("legend", {}, "Queues"), box("queue *", "every one", person.queues.includes("*")), queues.map((queue) => box(`queue ${queue}`, queue, person.queues.includes(queue)))),
    box("disabled", "Cannot sign in", person.disabled),
    h("p", { class: "muted small" }, "Their sessions end: they sign in again."),
  ], "Change");
  if (!said) return;
  const done = await post("/people/change", { person_id: person.person_id, roles: chosen(said, "role "), queues: chosen(said, "queue "), disabled: "disabled" in said });
  toast(`Changed; ${counted(done.sessions)}.`);
  await list();
}

async function signOut(person) {
  const own = person.person_id === me.id ? " This is you." : "";
  const said = await ask(`Sign ${person.name} out everywhere`, h("p", {}, `${person.sessions} of their sessions and tokens will end at once.${own}`), "Sign out");
  if (!said) return;
  const done = await post("/people/sign-out", { person_id: person.person_id });
  toast(`${counted(done.sessions)}.`);
  await list();
}

function row(person, { changeable, queues }) {
  const button = (words, label, action) => h("button", { type: "button", "aria-label": `${label} ${person.person_id}`, onclick: () => action().catch((refused) => toast(refused.message)) }, words);
  const account = person.local ? [person.disabled ? h("span", { class: "chip bad" }, "cannot sign in") : "local", person.fresh ? h("div", { class: "muted small" }, "one-time password, not used yet") : null]
    : h("span", { class: "muted" }, person.roles.includes("integration") ? "a token" : "elsewhere");
  return h("tr", {}, h("td", {}, h("strong", {}, person.name), person.name === person.person_id ? null : h("div", { class: "muted small" }, person.person_id)),
    h("td", {}, person.roles.join(", ") || "–"), h("td", {}, person.queues.map((queue) => (queue === "*" ? "every one" : queue)).join(", ") || "none"), h("td", {}, account),
    h("td", {}, person.sessions ? `${person.sessions > 1 ? `${person.sessions} sessions, the last ` : ""}${relative(person.latest_at)}` : h("span", { class: "muted" }, "no")),
    h("td", {}, h("div", { class: "row" }, person.local && changeable && person.person_id !== me.id ? button("Change…", "Change", () => change(person, queues)) : null,
      person.sessions ? button("Sign out…", "Sign out", () => signOut(person)) : null)));
}

async function list() {
  const found = await get("/people");
  document.getElementById("how").textContent = found.changeable
    ? "Local accounts are for trying things out, not for production. “unmask console account” makes one, or gives it a new password."
    : "People come in by the OpenID provider, which says what they may; sessions can be ended here.";
  refill(body, found.people.map((person) => row(person, found)));
}

await list();
