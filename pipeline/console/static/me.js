// One's own preferences and exposure.

import { get, put } from "./api.js";
import { fill, h, spoken } from "./dom.js";
import "./keys.js";
import { toast } from "./toast.js";

const form = document.getElementById("preferences");
const me = await get("/me");
for (const [name, value] of Object.entries(me.preferences)) {
  const field = form.elements[name];
  if (!field) continue;
  if (field.type === "checkbox") field.checked = value;
  else field.value = value;
}
const told = () => { form.querySelector("output").textContent = form.elements.blur.value === "0" ? "sharp" : `${form.elements.blur.value} px`; };
form.addEventListener("input", told);
told();

// What differs for one harm: empty is "as above".
const WAYS = { mute: ["as above", "mute", "sound"], greyscale: ["as above", "grey", "colours"], warn: ["as usual", "warn", "do not"] };
fill(document.querySelector("#harms tbody"), me.harms.map((harm) => {
  const own = me.preferences.per_harm[harm.name] ?? {};
  const choice = (name) => h("select", { "data-harm": harm.name, "data-what": name, "aria-label": `${name}, ${spoken(harm.name)}` },
    ["", "true", "false"].map((value, i) => h("option", { value, selected: value === (own[name] === null || own[name] === undefined ? "" : String(own[name])) }, WAYS[name][i])));
  return h("tr", {}, h("th", { scope: "row" }, spoken(harm.name), h("div", { class: "muted small" }, harm.what)),
    h("td", {}, h("input", { type: "number", min: 0, max: 40, value: own.blur ?? "", "data-harm": harm.name, "data-what": "blur", "aria-label": `blur, ${spoken(harm.name)}`, placeholder: "as above" })),
    h("td", {}, choice("mute")), h("td", {}, choice("greyscale")), h("td", {}, choice("warn")));
}));

function perHarm() {
  const said = {};
  for (const field of document.querySelectorAll("#harms [data-harm]")) {
    if (field.value === "") continue;
    const own = (said[field.dataset.harm] ??= {});
    own[field.dataset.what] = field.dataset.what === "blur" ? Number(field.value) : field.value === "true";
  }
  return said;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = { ...me.preferences, per_harm: perHarm() };
  for (const field of form.elements) {
    if (!field.name) continue;
    said[field.name] = field.type === "checkbox" ? field.checked : field.type === "range" || field.type === "number" ? Number(field.value) : field.value;
  }
  try {
    await put("/me/preferences", said);
    localStorage.setItem("theme", said.theme);
    document.documentElement.dataset.theme = said.theme;
    toast("Saved.");
  } catch (refused) {
    toast(refused.message);
  }
});

fill(document.querySelector("#exposure tbody"), me.exposure.length
  ? me.exposure.map((each) => h("tr", {}, h("td", {}, spoken(each.harm)), h("td", { class: "number" }, String(each.severity)),
    h("td", { class: "number" }, (each.seconds / 60).toFixed(1))))
  : h("tr", {}, h("td", { colspan: 3, class: "muted" }, "Nothing yet.")));
