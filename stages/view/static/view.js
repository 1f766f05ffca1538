"use strict";
// Theme, keys, labels, copying, and the limit that is moved. Texts are only ever set as text; the one part of a page that is
// fetched as HTML comes from this server, escaped there.
const root = document.documentElement;
const kept = localStorage.getItem("theme");
if (kept) root.dataset.theme = kept;
document.getElementById("theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
for (const link of document.querySelectorAll("a[data-language]")) {
  const where = new URL(location.href);
  where.searchParams.set("language", link.hreflang);
  link.href = where.pathname + where.search;
}

const cards = () => [...document.querySelectorAll(".card[data-id]")];
const here = () => document.activeElement?.closest(".card[data-id]");
function step(by) {
  const all = cards(), now = all.indexOf(here());
  const next = all[Math.min(all.length - 1, Math.max(0, now + by))];
  next?.focus();
  next?.scrollIntoView({block: "nearest"});
}
let labelling = Promise.resolve();
const label = (card, given) => { labelling = labelling.then(() => note(card, given)); };  // in the order of the keys
async function note(card, given) {  // what is not given stays as it was
  const body = new URLSearchParams({id: card.dataset.id, store: card.dataset.store, ...given});
  const answer = await fetch("/label", {method: "POST", body}).catch(() => null);
  const said = card.querySelector(".given");
  if (!answer?.ok) { if (said) said.textContent = "✗ " + (answer?.status ?? ""); return; }
  const entry = await answer.json();
  card.classList.toggle("kept-label", entry.label === "keep");
  card.classList.toggle("drop-label", entry.label === "drop");
  if (said) said.textContent = [entry.label, ...entry.tags].filter(Boolean).join(", ");
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const card = here();
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") { (document.getElementById("search") ?? document.getElementById("find"))?.focus(); event.preventDefault(); }
  else if (card && event.key === "1") label(card, {label: "keep"});
  else if (card && event.key === "2") label(card, {label: "drop"});
  else if (card && event.key === "0") label(card, {label: "", tags: ""});
  else if (card && event.key === "t") {
    const tags = prompt("tags, with commas");
    if (tags !== null) label(card, {tags});
  } else if (card && event.key === "Enter" && event.target === card) card.querySelector("a")?.click();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) navigator.clipboard?.writeText(button.previousElementSibling.textContent);
});

const form = document.getElementById("move"), line = document.querySelector("#chart .limit"), field = document.getElementById("value");
if (form) {
  let waiting = 0, asked = 0;
  const ask = async () => {
    const mine = ++asked;
    const answer = await fetch(form.dataset.from + "?" + new URLSearchParams(new FormData(form)));
    const text = await answer.text();
    if (mine !== asked) return;
    const part = new DOMParser().parseFromString(text, "text/html");
    document.getElementById("change").replaceChildren(...(part.querySelector("main") ?? part.body).childNodes);
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 250); move(Number(field.value)); });
  const ends = () => ["low", "high", "left", "right"].map((name) => Number(line.dataset[name]));
  const move = (value) => {
    if (!line || !Number.isFinite(value)) return;
    const [low, high, left, right] = ends();
    const x = left + (Math.min(Math.max(value, low), high) - low) / ((high - low) || 1) * (right - left);
    line.setAttribute("x1", x); line.setAttribute("x2", x);
  };
  if (line) {
    const chart = line.closest("svg");
    let dragging = false;
    const to = (event) => {
      const [low, high, left, right] = ends(), box = chart.getBoundingClientRect(), width = chart.viewBox.baseVal.width;
      const x = (event.clientX - box.left) / box.width * width;
      const value = low + (Math.min(Math.max(x, left), right) - left) / (right - left) * (high - low);
      field.value = Number(value.toPrecision(high - low > 50 ? 3 : 4));
      move(Number(field.value));
      clearTimeout(waiting); waiting = setTimeout(ask, 120);
    };
    chart.addEventListener("pointerdown", (event) => { dragging = true; chart.setPointerCapture(event.pointerId); to(event); });
    chart.addEventListener("pointermove", (event) => { if (dragging) to(event); });
    chart.addEventListener("pointerup", () => { dragging = false; });
  }
  ask();
}
