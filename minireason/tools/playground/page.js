"use strict";
// The page asks the server (server.py) and shows what comes. Whatever a model or a reader wrote is put in as
// text, never as HTML.

const $ = id => document.getElementById(id);
let world = null;           // what the server says there is to choose from
let written = [];           // the tokens that the reader chose, and those before them
let shown = [];             // the tokens of the answer on the page: {id, text, span}
let asking = {};            // for each place on the page, what ends its request

// ---------------------------------------------------------------------------
// Asking the server

// Posts a request. Calls onEvent with each line of the answer. A new request for the same place on the page
// ends the old one. Returns false if the request failed or was ended.
async function ask(place, path, request, onEvent) {
  if (asking[place]) asking[place].abort();
  const controller = asking[place] = new AbortController();
  try {
    const response = await fetch(path, {method: "POST", body: JSON.stringify(request),
      headers: {"Content-Type": "application/json"}, signal: controller.signal});
    return await readLines(response.body.pipeThrough(new TextDecoderStream()).getReader(), onEvent);
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!(error instanceof TypeError && /fetch|network/i.test(error.message))) throw error;
    say("error", "The server does not answer: is it still running?");
    return false;
  }
}

// Calls onEvent with each line. Returns false if one of them says what went wrong.
async function readLines(reader, onEvent) {
  let rest = "";
  while (true) {
    const {value, done} = await reader.read();
    if (done) return true;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.error) {
        say("error", event.error);
        return false;
      }
      onEvent(event);
    }
  }
}

// ---------------------------------------------------------------------------
// Small helpers

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function say(id, text, className = null) {
  $(id).textContent = text;
  if (className !== null) $(id).className = className;
}

const percent = share => `${Math.round(100 * share)}%`;
const probability = p => p < 0.005 ? "<1%" : p > 0.995 && p < 1 ? ">99%" : percent(p);
const number = id => Number($(id).value);
const visible = text => text.replace(/[\u0000-\u001f\u007f]/g, "?");

function settings() {
  return {prompt: $("prompt").value, stage: $("stage").value, temperature: number("temperature"),
          seed: number("seed")};
}

function sampling() {       // where one greedy answer would tell nothing
  return {...settings(), temperature: number("temperature") || 1};
}

// ---------------------------------------------------------------------------
// An answer, token by token

const END = "<eos>";

// Puts a token at the end of `box`, and returns its span. A space before a word stays outside of it.
function addToken(box, text) {
  const hasSpace = /^ ./.test(text);
  if (hasSpace || text === END) box.append(" ");
  const span = element("span", "token", text === END ? "\u25a0" : visible(hasSpace ? text.slice(1) : text));
  if (text === END) span.title = "the end";
  if (/^<.*>$/.test(text)) span.classList.add("tag");
  box.append(span);
  return span;
}

// Shows answers in `box` as they come. Returns a function that takes the server's events.
function showAnswerIn(box, verdict, onToken = null) {
  const tokens = [];
  let at = 0;               // characters so far
  box.replaceChildren();
  verdict.textContent = "";
  return event => {
    if (event.text !== undefined) {
      const span = addToken(box, event.text);
      if (event.chosen) span.classList.add("chosen");
      const length = event.text === END ? 0 : event.text.length;
      const token = {id: event.id, text: event.text, span, start: at, end: at + length};
      at = token.end;
      tokens.push(token);
      if (onToken) onToken(token, tokens);
    }
    if (event.marks) paint(tokens, event.marks);
    if (event.probabilities) event.probabilities.forEach((numbers, i) => addProbability(tokens[i], numbers));
    if (event.verdict) showVerdict(verdict, event.verdict, event.tokens);
  };
}

const KINDS = ["right", "wrong", "repair", "try", "retry", "no", "yes", "false-yes"];

// Gives each token the kind of the mark that it lies in. A mark is [start, end, kind], in characters.
function paint(tokens, marks) {
  for (const token of tokens) {
    token.span.classList.remove(...KINDS);
    for (const [start, end, kind] of marks) {
      if (token.start < end && token.end > start) token.span.classList.add(kind);
    }
  }
}

function addProbability(token, {p, others}) {
  token.p = p;
  token.others = others;
  const strength = Math.min(1, 0.3 + 1.2 * (1 - p));
  if (p < 0.95) token.span.style.borderBottomColor = `rgba(var(--unsure), ${strength})`;
  token.span.title = `${probability(p)} sure`;
}

function showVerdict(place, verdict, tokens) {
  const word = {true: "Right", false: "Wrong"}[verdict.correct];
  const reason = verdict.correct ? "" : `: ${verdict.reason}`;
  place.textContent = `${word ? word + reason : verdict.reason} (${tokens} tokens)`;
  place.className = "verdict" + (word ? (verdict.correct ? " good" : " bad") : "");
}

async function think() {
  say("error", "");
  $("others").replaceChildren();
  saveState();
  const show = showAnswerIn($("answer"), $("verdict"), (token, tokens) => { shown = tokens; });
  $("own").hidden = written.length === 0;
  const ended = await ask("think", "/think", {...settings(), written}, show);
  if (ended) makeTokensButtons();
}

// Tokens are buttons, one tab stop for all: the arrow keys go from one to the next.
function makeTokensButtons() {
  shown.forEach((token, i) => {
    token.span.setAttribute("role", "button");
    token.span.setAttribute("aria-pressed", "false");
    const name = visible(token.text).trim() || "space";
    token.span.setAttribute("aria-label", `${name}, ${probability(token.p)}`);
    token.span.tabIndex = i === 0 ? 0 : -1;
    token.span.onclick = () => chooseToken(i);
    token.span.onkeydown = event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (step && shown[i + step]) shown[i + step].span.focus();
      if (event.key === "Enter" || event.key === " ") chooseToken(i);
      if (step || event.key === " ") event.preventDefault();
    };
  });
}

// Shows what else might have stood in the place of a token.
function chooseToken(i) {
  shown.forEach((token, j) => {
    token.span.setAttribute("aria-pressed", String(j === i));
    token.span.tabIndex = j === i ? 0 : -1;
  });
  const label = element("span", "", "Here it might have said:");
  const buttons = shown[i].others.map(other => {
    const button = element("button", "", `${other.text === END ? "\u25a0 (the end)" : visible(other.text)} `);
    button.type = "button";
    button.append(element("small", "", probability(other.p)));
    button.onclick = async () => {
      written = [...shown.slice(0, i).map(token => token.id), other.id];
      await think();
      if (shown[i] && tab === "think") shown[i].span.focus();
    };
    return button;
  });
  $("others").replaceChildren(label, ...buttons);
}

// ---------------------------------------------------------------------------
// All stages at once

const MEANING = {
  "base": "imitated a messy corpus", "cold-start": "and 300 clean examples",
  "rl": "then trial and error", "rejection": "taught by its own right answers",
  "align": "made helpful and harmless"};

function compare() {
  saveState();
  const columns = world.stages.map(stage => {
    const column = element("article");
    const box = element("div", "answer"), verdict = element("p", "verdict"), score = element("p", "score");
    const title = element("h3", "", stage);
    title.append(element("small", "", MEANING[stage] || ""));
    column.append(title, score, box, verdict);
    ask(`compare ${stage}`, "/think", {...settings(), stage}, showAnswerIn(box, verdict));
    return column;
  });
  $("columns").replaceChildren(...columns);
}

// The task that a prompt belongs to, by its first word.
function taskOf(prompt) {
  const word = prompt.trim().split(/\s+/)[0].toLowerCase();
  return world.tasks.find(task => task.word === word);
}

function scoreStages() {
  say("error", "");
  const task = taskOf($("prompt").value);
  if (!task) return say("error", "Chat is not scored here: type a problem first.");
  if (!$("columns").children.length) compare();
  const places = document.querySelectorAll("#columns .score");
  for (const place of places) place.textContent = "answering ...";
  world.stages.forEach((stage, i) => {
    ask(`score ${stage}`, "/score", {stage, task: task.name, number: 100, seed: number("seed")}, event => {
      const [low, high] = interval(event.right, event.of);
      const bounds = `95%: ${percent(low)} to ${percent(high)}`;
      places[i].textContent = `${event.right} of ${event.of} right (${bounds})`;
    });
  });
}

// Wilson's 95% interval of a share.
function interval(right, of) {
  const z = 1.96, share = right / of, weight = 1 + z * z / of;
  const middle = (share + z * z / (2 * of)) / weight;
  const half = z * Math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / weight;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

// ---------------------------------------------------------------------------
// More thought

function answerWithin() {
  saveState();
  ask("force", "/think", {...settings(), budget: number("budget")},
      showAnswerIn($("forced"), $("forced-verdict")));
}

function measureBudgets() {
  const points = [];
  ask("budgets", "/budgets", {...sampling(), number: 32}, event => {
    points.push({x: event.tokens, right: event.right, of: event.of});
    $("budget-chart").replaceChildren(chart(points, "tokens of the answer, on average", 160));
  });
}

function vote() {
  saveState();
  ask("vote", "/vote", {...sampling(), number: number("votes")}, event => {
    const wins = event.winner_is_right ? "the winner is right" : "the winner is wrong";
    say("vote-said", `${event.of} answers, ${event.right} of them right; ${wins}.`
        + (event.no_form ? ` ${event.no_form} had no vote: they were not well formed.` : ""));
    const cells = [];
    for (const {answer, votes, correct} of event.bars) {
      const bar = element("div", "bar" + (correct ? " good" : ""));
      bar.style.width = percent(votes / event.bars[0].votes);
      const count = element("span", "", `${votes}${correct ? " right" : ""}`);
      cells.push(element("span", "", visible(answer)), bar, count);
    }
    $("bars").replaceChildren(...cells);
  });
}

// ---------------------------------------------------------------------------
// A chart: shares of right answers, with 95% intervals

function chart(points, label, xMax) {
  const W = 560, H = 220, left = 40, bottom = 36, top = 10, right = 12;
  const x = value => left + (W - left - right) * value / xMax;
  const y = share => top + (H - top - bottom) * (1 - share);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.setAttribute("role", "img");
  const last = points[points.length - 1];
  svg.setAttribute("aria-label", `Right answers: now ${last.right} of ${last.of}`);
  const add = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    made.textContent = text;
    svg.append(made);
  };
  for (const share of [0, 0.5, 1]) {
    add("line", {class: "axis", x1: left, x2: W - right, y1: y(share), y2: y(share)});
    add("text", {x: left - 6, y: y(share) + 4, "text-anchor": "end"}, percent(share));
  }
  for (const part of [0, 1 / 3, 2 / 3, 1]) {
    const value = Math.round(part * xMax);
    add("text", {x: x(value), y: H - bottom + 16, "text-anchor": "middle"}, String(value));
  }
  add("text", {x: (left + W) / 2, y: H - 4, "text-anchor": "middle"}, label);
  for (const point of points) {
    const [low, high] = interval(point.right, point.of);
    add("line", {class: "whisker", x1: x(point.x), x2: x(point.x), y1: y(low), y2: y(high)});
  }
  const path = points.map(point => `${x(point.x)},${y(point.right / point.of)}`).join(" ");
  add("polyline", {class: "line", points: path});
  for (const point of points) {
    add("circle", {class: "dot", cx: x(point.x), cy: y(point.right / point.of), r: 3.5});
  }
  return svg;
}

// ---------------------------------------------------------------------------
// One step of RL

let lab = null;             // its name on the server
let passRates = [];         // measured before the first step, and after each
let labTitle = "";          // what it learns, and how
let hasGroup = false;       // is there a group that was not learned from yet?
let isWorking = false;
const MOST_STEPS = 30;

async function labAsks(action, onEvent, more = {}) {
  return ask("lab", "/lab", {action, lab, ...more}, onEvent);
}

async function beginLab() {
  saveState();
  if (lab) await labAsks("end", () => {});
  lab = null;
  hasGroup = false;
  passRates = [];
  const request = {...settings(), algo: $("algo").value, group_size: number("group-size"),
                   rate: $("rate").value};
  labTitle = `${request.algo.toUpperCase()} from ${request.stage}, ${request.prompt}`;
  $("group").replaceChildren();
  $("lab-chart").replaceChildren();
  const begun = await labAsks("begin", event => { lab = event.lab; }, request);
  $("reset").textContent = "Begin again";
  if (begun && await measure()) await sampleGroup();
}

async function measure() {
  say("lab-said", $("lab-said").textContent || "Measuring 64 answers ...");
  return labAsks("measure", event => {
    passRates.push({x: event.steps_done, right: event.right, of: event.of});
    $("lab-chart").replaceChildren(element("h3", "", labTitle),
                                   chart(passRates, "steps (right answers of 64 fresh ones)", 30));
  });
}

async function sampleGroup() {
  hasGroup = await labAsks("group", event => showGroup(event, false));
  if (hasGroup) say("lab-said", "These are the answers that the next step will learn from.");
  return hasGroup;
}

async function takeStep() {
  hasGroup = false;
  const hasLearned = await labAsks("step", event => {
    showGroup(event, true);
    say("lab-said", stepText(event));
  });
  return hasLearned && measure();
}

// Does some of the lab's work, while its buttons wait.
async function work(steps) {
  say("error", "");
  isWorking = true;
  setBusy(true);
  await steps();
  isWorking = false;
  setBusy(false);
}

async function tenSteps() {
  for (let i = 0; i < 10 && passRates.length <= MOST_STEPS; i++) {
    if (!hasGroup && !await sampleGroup()) return;
    if (!await takeStep()) return;
  }
}

function stepText(event) {
  const isGrpo = event.metrics.value_loss === undefined;
  const right = `Step ${event.steps_done}: ${percent(event.mean)} of these answers were right. `;
  if (isGrpo && event.std === 0) {
    const reason = event.mean ? "The prompt is solved already" : "The prompt is too hard";
    return right + `${reason}, so GRPO learned nothing. Draw ${event.mean ? "a harder" : "an easier"} one.`;
  }
  const colors = "Green tokens became likelier, yellow ones less likely. ";
  const critic = isGrpo ? "" : "The curve under an answer is what the critic expected, from 0 to 1. ";
  const remark = isGrpo ? ", and it differs from 0 only as far as answers differ in length." : ".";
  const loss = `The loss, ${event.metrics.policy_loss.toFixed(3)}, is no measure of progress: `
    + `advantages add up to 0${remark}`;
  return right + colors + critic + loss;
}

function setBusy(isBusy) {
  const isOver = passRates.length > MOST_STEPS;
  $("reset").disabled = isBusy;
  $("sample").disabled = isBusy || isOver || !lab || hasGroup;
  $("step").disabled = isBusy || isOver || !hasGroup;
  $("ten").disabled = isBusy || isOver || !lab;
}

function showGroup(event, isAfter) {
  const articles = event.completions.map(completion => {
    const article = element("article", completion.reward ? "good" : "bad");
    const advantage = completion.tokens[0].advantage;
    article.append(element("h3", "", `reward ${completion.reward}, advantage ${advantage.toFixed(2)}`));
    const box = element("div", "answer");
    for (const token of completion.tokens) {
      const change = isAfter ? token.new - token.old : 0;
      const span = addToken(box, token.text);
      span.title = `probability ${probability(Math.exp(token.old))}`
        + (isAfter ? `, now ${probability(Math.exp(token.new))}` : "")
        + (token.value === undefined ? "" : `, value ${token.value.toFixed(2)}`)
        + `, advantage ${token.advantage.toFixed(2)}`;
      if (Math.abs(change) > 0.005) span.classList.add(change > 0 ? "up" : "down");
    }
    article.append(box);
    if (completion.tokens[0].value !== undefined) article.append(valueCurve(completion.tokens));
    return article;
  });
  const summary = element("p", "", `Rewards: mean ${event.mean.toFixed(2)}, standard deviation `
    + `${event.std.toFixed(2)}.`);
  $("group").replaceChildren(summary, ...articles);
}

// What PPO's critic expects at each token, from 0 to 1.
function valueCurve(tokens) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 600 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "the critic's value at each token");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const points = tokens.map((token, i) =>
    `${600 * i / Math.max(1, tokens.length - 1)},${38 - 36 * Math.min(1, Math.max(0, token.value))}`);
  line.setAttribute("points", points.join(" "));
  line.setAttribute("class", "line");
  svg.append(line);
  return svg;
}

// ---------------------------------------------------------------------------
// The state of the page stands in its address, so that a link shows the same

const KEPT = ["prompt", "stage", "temperature", "seed", "algo", "group-size", "rate", "budget", "votes"];
let tab = "think";

function saveState() {
  const state = new URLSearchParams({tab});
  for (const id of KEPT) state.set(id, $(id).value);
  if (written.length) state.set("written", written.join("."));
  history.replaceState(null, "", "#" + state);
}

function loadState() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const id of KEPT) {
    if (!state.has(id)) continue;
    const isChoice = $(id).tagName === "SELECT";
    const isKnown = !isChoice || [...$(id).options].some(option => option.value === state.get(id));
    if (isKnown) $(id).value = state.get(id);
  }
  written = (state.get("written") || "").split(".").filter(Boolean).map(Number).filter(Number.isInteger);
  $("budget-shown").textContent = `${$("budget").value} tokens`;
  showTab(["think", "compare", "more", "lab"].includes(state.get("tab")) ? state.get("tab") : "think");
}

function showTab(name) {
  tab = name;
  for (const other of ["think", "compare", "more", "lab"]) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
}

function openTab(name) {
  showTab(name);
  saveState();
  say("error", "");
  const isEmpty = {think: !shown.length, compare: !$("columns").children.length}[name];
  if (isEmpty) answer();
}

// The answers on the page belong to a prompt and settings that were changed: they go, so as not to mislead.
function forgetAnswer() {
  written = [];
  shown = [];
  for (const id of ["answer", "others", "columns", "forced", "bars", "budget-chart"]) $(id).replaceChildren();
  for (const id of ["verdict", "forced-verdict", "vote-said"]) say(id, "");
  $("own").hidden = true;
}

// What the button "Answer" does depends on what is looked at.
function answer() {
  say("error", "");
  if (tab === "think") think();
  if (tab === "compare") compare();
  if (tab === "more") { answerWithin(); vote(); }
  if (tab === "lab" && !isWorking) work(beginLab);
}

// ---------------------------------------------------------------------------
// The beginning

const EXAMPLES = ["compute 7*7+8*3-9", "make 70 from 6 13 10", "program 1->5 2->7 6->15",
                  "hello my name is ana"];

function askFor(prompt) {
  $("prompt").value = prompt;
  forgetAnswer();
  answer();
}

function addExamples() {
  for (const prompt of EXAMPLES) {
    const button = element("button", "", prompt);
    button.type = "button";
    button.onclick = () => askFor(prompt);
    $("tryout").append(button);
  }
  const label = element("span", "", "Or a held-out one:");
  const buttons = world.tasks.map(task => {
    const select = element("select");
    select.setAttribute("aria-label", `Level of ${task.name}`);
    for (const level of task.levels) {
      const option = element("option", "", `level ${level}`);
      option.value = level;
      option.selected = level === (task.scored[0] || task.levels[0]);
      select.append(option);
    }
    const button = element("button", "", task.name);
    button.type = "button";
    button.onclick = () => {
      const seed = Math.floor(1e6 * Math.random());
      ask("draw", "/draw", {task: task.name, level: Number(select.value), seed}, event => {
        askFor(event.prompt);
      });
    };
    const pair = element("span", "pair");
    pair.append(button, " ", select);
    return pair;
  });
  $("examples").append(label, ...buttons);
}

function connect() {
  $("ask").onsubmit = event => {
    event.preventDefault();
    written = [];
    answer();
  };
  for (const name of ["think", "compare", "more", "lab"]) {
    $(`tab-${name}`).onclick = () => openTab(name);
  }
  document.querySelector(".tabs").onkeydown = event => {
    const names = ["think", "compare", "more", "lab"];
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    openTab(names[(names.indexOf(tab) + step + names.length) % names.length]);
    $(`tab-${tab}`).focus();
  };
  for (const id of ["prompt", "stage", "temperature", "seed"]) $(id).oninput = forgetAnswer;
  $("budget").oninput = () => { $("budget-shown").textContent = `${$("budget").value} tokens`; };
  $("link").onclick = async () => {
    saveState();
    try {
      await navigator.clipboard.writeText(location.href);
      $("link").textContent = "Copied";
    } catch {
      $("link").textContent = "The address above is the link";
    }
    setTimeout(() => { $("link").textContent = "Copy a link to this"; }, 2000);
  };
  $("score").onclick = scoreStages;
  $("force").onclick = answerWithin;
  $("curve").onclick = measureBudgets;
  $("vote").onclick = vote;
  $("reset").onclick = () => work(beginLab);
  $("sample").onclick = () => work(sampleGroup);
  $("step").onclick = () => work(takeStep);
  $("ten").onclick = () => work(tenSteps);
  $("own").onclick = () => {
    written = [];
    think();
  };
}

async function start() {
  connect();
  await ask("world", "/world", {}, event => { world = event; });
  if (!world) return;
  $("run").textContent = world.run === "pretrained" ? "with the weights that are included" : world.run;
  for (const stage of world.stages) $("stage").append(element("option", "", stage));
  $("stage").value = world.stages.includes("rl") ? "rl" : world.stages[world.stages.length - 1];
  addExamples();
  loadState();
  if (tab !== "lab") answer();
}

start();
