// Elements from data. Text is only ever set as text, so nothing that an uploader wrote can become markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "rect", "line", "circle", "path", "text", "title"]);

/** An element: `h("button", { class: "primary", onclick: f }, "Save")`. Children that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  const made = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value === "boolean") made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Put these children in place of what is there. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return parent;
}

const called = (element) => element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;

/** As `fill`; what had the focus in there has it again, known by where it leads or what it is called: a page that lives
 * must not take it away from who works with the keyboard. */
export function refill(parent, ...children) {
  const had = parent.contains(document.activeElement) ? called(document.activeElement) : null;
  fill(parent, ...children);
  if (had !== null) [...parent.querySelectorAll("a, button, input, select")].find((each) => called(each) === had)?.focus({ preventScroll: true });
  return parent;
}

/** "in 3 h", "5 min late": a moment as people say it. */
export function relative(moment, now = Date.now()) {
  const seconds = (new Date(moment).getTime() - now) / 1000;
  const said = span(Math.abs(seconds));
  return seconds >= 0 ? `in ${said}` : `${said} ago`;
}

/** "3 h", "12 min", "40 s". */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** "01:03.2" */
export function clock(seconds) {
  const tenths = Math.floor(Math.max(0, seconds) * 10);
  const minutes = Math.floor(tenths / 600);
  const rest = tenths % 600;
  return `${String(minutes).padStart(2, "0")}:${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
}

/** "face_swap" → "face swap" */
export const spoken = (word) => String(word).replaceAll("_", " ").replaceAll("-", " ");

/** Cut, not rounded: 99.6 % is not certainty. */
export const percent = (share) => (share === null ? "–" : `${Math.floor(share * 100 + 1e-9)} %`);
