"use strict";
// Rows to search, filter and sort. Texts come from data, so they are only ever set as text, never as HTML.
const STEP = 50;

function browser(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const form = root.querySelector("form");
  const last = data.columns.length - 1;
  const place = Object.fromEntries(data.columns.map((column, at) => [column.name, at]));
  const find = (name) => [...form.querySelectorAll(`[data-${name}]`)];
  let sort = data.columns.findIndex((column) => column.kind === "share");
  let descending = true;
  let limit = STEP;

  function matching() {
    const words = form.querySelector("[data-search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const choices = find("choice").filter((input) => input.value !== "").map((input) => [place[input.dataset.choice], +input.value]);
    const least = find("least").map((input) => [place[input.dataset.least], input.value / 100]);
    const most = find("most").map((input) => [place[input.dataset.most], input.value / 100]);
    const found = data.rows.filter((row) =>
      choices.every(([at, value]) => row[at] === value) &&
      least.every(([at, value]) => row[at] >= value) &&
      most.every(([at, value]) => row[at] <= value) &&
      words.every((word) => row[last].toLowerCase().includes(word)));
    found.sort((one, other) => (descending ? other[sort] - one[sort] : one[sort] - other[sort]) || one[0] - other[0]);
    return [found, words];
  }

  function text(cell, value, words) {
    if (!words.length) return cell.append(value);
    const pattern = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "gi");
    value.split(pattern).forEach((part, at) => {
      if (at % 2 === 0) return cell.append(part);
      const mark = document.createElement("mark");
      mark.textContent = part;
      cell.append(mark);
    });
  }

  function show() {
    const [found, words] = matching();
    const rows = found.slice(0, limit).map((row) => {
      const line = document.createElement("tr");
      line.setAttribute("role", "row");
      data.columns.forEach((column, at) => {
        const cell = document.createElement("td");
        cell.setAttribute("role", "cell");
        cell.className = column.kind;
        cell.dataset.name = column.name;
        if (column.kind === "choice") cell.append(column.options[row[at]]);
        else if (column.kind === "share") cell.append(`${(100 * row[at]).toFixed(1)}%`);
        else if (column.kind === "text") text(cell, row[at], words);
        else cell.append(String(row[at]));
        line.append(cell);
      });
      return line;
    });
    root.querySelector("tbody").replaceChildren(...rows);
    const all = data.rows.length;
    root.querySelector(".count").textContent =
      found.length === all ? `${all} rows` : `${found.length} of ${all} rows`;
    if (rows.length < found.length) root.querySelector(".count").textContent += `, ${rows.length} shown`;
    root.querySelector("[data-more]").hidden = rows.length === found.length;
    root.querySelectorAll("th[aria-sort]").forEach((head) => {
      const here = +head.querySelector("button").dataset.sort === sort;
      head.setAttribute("aria-sort", here ? (descending ? "descending" : "ascending") : "none");
    });
    form.querySelectorAll("input[type=range]").forEach((input) => {
      input.parentElement.querySelector("output").value = `${input.value}%`;
    });
  }

  form.addEventListener("input", () => { limit = STEP; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  // The inputs have their first values again only after the event.
  form.addEventListener("reset", () => setTimeout(() => { limit = STEP; show(); }));
  root.querySelectorAll("[data-sort]").forEach((button) => button.addEventListener("click", () => {
    const chosen = +button.dataset.sort;
    descending = chosen === sort ? !descending : data.columns[chosen].kind === "share";
    sort = chosen;
    show();
  }));
  root.querySelector("[data-more]").addEventListener("click", () => {
    const before = limit;
    limit += STEP;
    show();
    const first = root.querySelectorAll("tbody tr")[before];
    if (first) { first.tabIndex = -1; first.focus({ preventScroll: true }); }
  });
  show();
}

document.querySelectorAll("[data-browser]").forEach(browser);

// The table of contents marks the section that is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link) => { link.classList.remove("here"); link.removeAttribute("aria-current"); });
    const link = links.get(entry.target.id);
    link.classList.add("here");
    link.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-15% 0px -75% 0px" });
links.forEach((_, id) => seen.observe(document.getElementById(id)));

// On paper nothing can be opened.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
