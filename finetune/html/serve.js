"use strict";
// Sends one text to the server and shows the answer. Texts are only ever set as text, never as HTML.
const form = document.getElementById("form");
const boxes = [...form.querySelectorAll("textarea")]; // one, or one for each column of a text
const token = document.getElementById("token");
const problem = document.getElementById("problem");
const result = document.getElementById("result");
const button = form.querySelector("button");
const most = +form.dataset.characters;
const LISTED = 8; // pushes in the table
const NOISE = 0.005; // half a point: a smaller push is not marked
const chooser = document.getElementById("explained"); // of several labels, the one that the words push
let asked = 0; // number of the latest question
let answered; // the text whose answer is shown, as JSON

function element(name, content, className = "") {
  const made = document.createElement(name);
  made.append(content);
  made.className = className;
  return made;
}

const percent = (probability) => `${(100 * probability).toFixed(1)}%`;
const points = (push) => `${push < 0 ? "−" : "+"}${Math.abs(100 * push).toFixed(1)}`;
// The server counts whole characters; JavaScript counts some, such as emoji, as two.
const characters = () => boxes.reduce((sum, box) => sum + [...box.value].length, 0);
// The text, or an object with the text of each column.
const content = () => boxes[0].dataset.column === undefined ? boxes[0].value : Object.fromEntries(boxes.map((box) => [box.dataset.column, box.value]));

function count() {
  document.getElementById("count").textContent = `${characters()} of ${most} characters.`;
}

function fail(reason) {
  problem.textContent = reason;
  problem.hidden = false;
  result.hidden = true;
}

// Probabilities by label, the most probable first.
const ranked = (answer) => Object.entries(answer.probabilities).sort((one, other) => other[1] - one[1]);
// The label whose probability the words push: of one label the answer, or the most probable one where there is no answer.
const shown = (answer) => answer.explained ?? answer.label ?? ranked(answer)[0][0];
const isAnswer = (answer, label) => answer.labels ? answer.labels.includes(label) : label === shown(answer);

// The answer as elements or text, and a sentence about it.
function verdict(answer) {
  if (answer.labels) return setVerdict(answer);
  const probability = `with a calibrated probability of ${percent(answer.probability)}`;
  return answer.unsure ? ["unsure", `The most probable class is ${shown(answer)}, ${probability}: too low for an answer.`] : [answer.label, probability];
}

function setVerdict(answer) {
  const count = answer.labels.length;
  if (!count) {
    const below = ([label, probability]) => answer.thresholds[label] - probability;
    const [label, probability] = ranked(answer).reduce((one, other) => below(other) < below(one) ? other : one);
    return ["No label reaches its threshold.", `The closest is ${label}, with a calibrated probability of ${percent(probability)}; it needs ${percent(answer.thresholds[label])}.`];
  }
  const chips = document.createDocumentFragment();
  // Only a screen reader and a copy of the text show the comma between two.
  answer.labels.forEach((label, place) => chips.append(...(place ? [element("span", ", ", "comma")] : []), element("span", label, "chip")));
  return [chips, `${count} of ${ranked(answer).length} labels ${count === 1 ? "reaches its threshold" : "reach their thresholds"}.`];
}

function showClass(answer) {
  const [title, note] = verdict(answer);
  document.getElementById("verdict").replaceChildren(title);
  document.getElementById("confidence").textContent = note;
  const sorted = ranked(answer).sort(([one], [other]) => isAnswer(answer, other) - isAnswer(answer, one)); // answers first
  if (answer.labels) {
    document.getElementById("kind").textContent = "The answer";
    for (const id of ["which", "mark"]) document.getElementById(id).hidden = false;
    document.getElementById("probabilities").className = "marked";
    chooser.replaceChildren(...sorted.map(([label]) => new Option(label, label, false, label === shown(answer))));
  }
  document.getElementById("probabilities").replaceChildren(...sorted.map(([label, probability]) => {
    const line = element("div", "", isAnswer(answer, label) ? "first" : "");
    const bar = element("div", element("span", ""), "bar");
    bar.firstChild.style.width = percent(probability);
    const least = answer.thresholds?.[label];
    if (least !== undefined) {
      const mark = element("i", "");
      mark.style.left = percent(least);
      bar.append(mark);
    }
    const cell = element("dd", bar, "bar-cell");
    cell.setAttribute("aria-hidden", "true");
    const number = element("dd", percent(probability), "number");
    if (least !== undefined) number.append(element("span", `${isAnswer(answer, label) ? "reaches" : "below"} ${percent(least)}`, "note"));
    line.append(element("dt", label), cell, number);
    return line;
  }));
  document.getElementById("cut").hidden = !answer.truncated;
}

function direction(push) {
  return push > 0 ? "toward" : "against";
}

function showWords(answer) {
  const strongest = Math.max(NOISE, ...answer.parts.map((part) => Math.abs(part.push ?? 0)));
  for (const name of document.querySelectorAll(".of")) name.textContent = shown(answer);
  document.getElementById("words").replaceChildren(...answer.parts.map((part) => {
    if (part.push === null) return element("span", part.text, answer.truncated && part.text.trim() ? "unseen" : "");
    if (Math.abs(part.push) < NOISE) return element("span", part.text);
    const strength = Math.abs(part.push) / strongest;
    const word = element("span", part.text, `push ${direction(part.push)}${strength > 0.25 ? " strong" : ""}`);
    word.style.setProperty("--strength", strength);
    word.title = `${points(part.push)} points`;
    return word;
  }));
  const listed = answer.parts.filter((part) => Math.abs(part.push ?? 0) >= NOISE)
    .sort((one, other) => Math.abs(other.push) - Math.abs(one.push)).slice(0, LISTED);
  document.getElementById("strongest").replaceChildren(...listed.map((part) => {
    const line = document.createElement("tr");
    const word = element("th", part.text);
    word.scope = "row";
    const way = part.push > 0 ? `▲ towards ${shown(answer)}` : `▼ away from ${shown(answer)}`;
    line.append(word, element("td", way), element("td", points(part.push), "number"));
    return line;
  }));
  if (!listed.length) {
    const cell = element("td", "No single word moves the answer by half a point.");
    cell.colSpan = 3;
    document.getElementById("strongest").append(element("tr", cell));
  }
}

// The server's answer about the text. Throws an Error with the reason if there is none.
async function explanation(label) {
  const headers = { "Content-Type": "application/json" };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  let reply;
  try {
    reply = await fetch("explain", { method: "POST", headers, body: JSON.stringify({ text: content(), ...(label && { label }) }) });
  } catch (error) {
    throw new Error(`The server cannot be reached (${error.message}). Is it still running?`);
  }
  const answer = await reply.json().catch(() => null); // a failed server, or a proxy, may send something else
  if (reply.ok && answer?.parts) return answer;
  const received = `${reply.headers.get("Content-Type") ?? "nothing"} arrived instead of the expected JSON`;
  throw new Error(`The server did not answer (${reply.status}): ${answer?.detail ?? received}`);
}

async function classify(label) {
  const number = ++asked;
  if (boxes.every((box) => !box.value.trim())) return fail("There is no text yet. Type or paste one.");
  if (characters() > most) return fail(`The text has ${characters()} characters; the limit is ${most}.`);
  const text = JSON.stringify(content());
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await explanation(label);
    if (number !== asked) return undefined; // a later question replaced this one
    problem.hidden = true;
    result.hidden = false;
    if (!label || text !== answered) showClass(answer); // another label of the same text is no news to a screen reader
    answered = text;
    showWords(answer);
  } catch (error) {
    if (number === asked) fail(error.message);
  } finally {
    if (number === asked) button.removeAttribute("aria-busy");
  }
  return undefined;
}

form.addEventListener("submit", (event) => { event.preventDefault(); classify(); });
for (const box of boxes) box.addEventListener("input", count);
chooser.addEventListener("change", () => classify(chooser.value));
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
count();
