"use strict";
// Sorts a table by the column whose header is pressed: numbers by value, everything else as text.
const value = (row, place) => {
  const text = row.cells[place].textContent.trim();
  const number = Number.parseFloat(text.replace("\u2212", "-").replace(/,/g, ""));
  return /^[+\-\u2212]?[\d.,]+/.test(text) ? number : /[A-Za-z]/.test(text) ? text : -Infinity;
};
const compare = (one, other) =>
  typeof one === typeof other && typeof one === "string" ? one.localeCompare(other) : Number(one) - Number(other) || 0;
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, place) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const falling = header.getAttribute("aria-sort") !== "descending";
      headers.forEach(other => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => compare(value(one, place), value(other, place)) * (falling ? -1 : 1));
      rows.forEach(row => row.classList.remove("rule"));
      table.tBodies[0].append(...rows);
    });
  });
}
