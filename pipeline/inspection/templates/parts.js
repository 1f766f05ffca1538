"use strict";
// Tables are sorted by a click on a column's head; what scrolls can be reached by keys; what is folded opens for print. Without this script
// a page says the same.
for (const head of document.querySelectorAll(".sortable thead th")) {
  head.tabIndex = 0;
  const sort = () => {
    const at = head.cellIndex, body = head.closest("table").tBodies[0], up = head.getAttribute("aria-sort") === "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent;
    const number = head.classList.contains("n");
    const rows = [...body.rows].sort((a, b) => number ? Number(value(b)) - Number(value(a)) : value(b).localeCompare(value(a)));
    body.append(...(up ? rows.reverse() : rows));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}
addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("details")) each.open = true; });
function reachable() {
  for (const each of document.querySelectorAll(".text, pre, .wide"))
    if (each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1) each.tabIndex = 0;
}
reachable();
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true);
