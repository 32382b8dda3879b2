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

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = { ...me.preferences };
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
