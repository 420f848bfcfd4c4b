"use strict";
// The page asks the server (server.py) and shows what comes. Whatever a model or a reader wrote is put in as
// text, never as HTML.

const $ = id => document.getElementById(id);
let world = null;           // what the server says there is to choose from
let written = [];           // the tokens that the reader chose, and those before them
let shown = [];             // the tokens of the answer on the page: {id, text, span}
let pressed = null;         // the index in `shown` of the token whose alternatives stay on the page
let asking = {};            // for each place on the page, the AbortController that ends its request
let working = {};           // for each place on the page, what goes on there, in words
let isStopped = false;      // did the reader press Stop while the lab worked?

// ---------------------------------------------------------------------------
// Asking the server

// Posts a request. Calls onEvent with each line of the answer. A new request for the same place on the page
// ends the old one. `what` says in words what goes on, and `onProgress` says how far it is. Returns false if
// the request failed or was ended.
async function ask(place, path, request, onEvent, what,
                   onProgress = progress => tellWork(place, `${what}: ${progress}`)) {
  if (asking[place]) asking[place].abort();
  const controller = asking[place] = new AbortController();
  tellWork(place, what);
  try {
    const response = await fetch(path, {method: "POST", body: JSON.stringify(request),
      headers: {"Content-Type": "application/json"}, signal: controller.signal});
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    return await readLines(reader, event => {
      if (event.progress) onProgress(event.progress);
      else onEvent(event);
    });
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!(error instanceof TypeError && /fetch|network/i.test(error.message))) throw error;
    say("error", "The server does not answer: is it still running?");
    return false;
  } finally {
    if (asking[place] === controller) {
      delete asking[place];
      tellWork(place, null);
    }
  }
}

// Says at the top of the page what goes on, and shows the button that stops it.
function tellWork(place, words) {
  if (words) working[place] = words;
  else delete working[place];
  const all = new Set(Object.values(working));       // what goes on in several places is said once
  say("working-said", [...all].join("; "));
  $("stop").hidden = all.size === 0;
}

// Ends all that goes on. A beginning or a step of the lab is not ended in its middle, so that page and server
// have the same lab: it stops behind that.
function stopAll() {
  isStopped = true;
  clearTimeout(waiting);
  const goesOn = ["begin", "step"].includes(labAction);
  if (asking.lab && labAction === "step") tellWork("lab", "Stopping after this step");
  if (asking.think) say("verdict", "Stopped.", "verdict");
  for (const place in asking) {
    if (place !== "lab" || !goesOn) asking[place].abort();
  }
  stopPlaying();
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
        say("error", capital(event.error));
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
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
const number = id => Number($(id).value || NaN);        // an empty box is not 0: the server refuses it
const visible = text => text.replace(/[\u0000-\u001f\u007f]/g, "?");

function settings() {
  return {run: $("run").value, stage: $("stage").value, prompt: $("prompt").value,
          temperature: number("temperature"), seed: number("seed")};
}

function sampling() {       // for many answers: greedy ones would all be the same
  const one = settings();
  return {...one, temperature: one.temperature === 0 ? 1 : one.temperature};
}

// ---------------------------------------------------------------------------
// An answer, token by token

const END = "<eos>";

// Puts a token at the end of `box`, and returns its span. The spaces around a word stay outside of it.
function addToken(box, text) {
  if (text === END || /^ ./.test(text)) box.append(" ");
  const span = element("span", "token", text === END ? "\u25a0" : visible(text.trim() || text));
  if (text === END) span.title = "the end";
  if (/^<.*>$/.test(text)) span.classList.add("tag");
  if (text.endsWith("-")) span.classList.add("minus");
  box.append(span);
  if (/. $/.test(text)) box.append(" ");
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

// The kinds of marks, and what a screen reader says of them.
const KINDS = {"right": "a step that is right", "wrong": "a wrong step", "repair": "repaired later",
               "try": "a candidate", "retry": "another one", "no": "said to have failed",
               "yes": "said to succeed, and it does", "false-yes": "said to succeed, but it does not"};

// Gives each token the kind of the mark that it lies in. A mark is [start, end, kind], in characters.
function paint(tokens, marks) {
  for (const token of tokens) {
    token.span.classList.remove(...Object.keys(KINDS));
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
  token.span.title = `${token.text === END ? "the end, " : ""}${probability(p)} sure`;
}

function showVerdict(place, verdict, tokens) {
  const word = {true: "Right", false: "Wrong"}[verdict.correct];
  const reason = verdict.reason.replace(/^correct(; )?/, "");
  const length = reason.includes("tokens") ? "" : ` (${tokens} tokens)`;    // "cut off at 256 tokens" says it
  place.textContent = capital([word, reason].filter(Boolean).join(": ")) + length;
  place.className = "verdict" + (word ? (verdict.correct ? " good" : " bad") : "");
}

async function think() {
  say("error", "");
  pressed = null;
  showOthers(null);
  saveState();
  const show = showAnswerIn($("answer"), $("verdict"), (token, tokens) => { shown = tokens; });
  $("own").hidden = written.length === 0;
  const ended = await ask("think", "/think", {...settings(), written}, show, "Answering");
  if (ended) makeTokensButtons();
}

// Tokens are buttons, one tab stop for all: the arrow keys go from one to the next.
function makeTokensButtons() {
  shown.forEach((token, i) => {
    token.span.setAttribute("role", "button");
    token.span.setAttribute("aria-pressed", "false");
    const name = visible(token.text).trim() || "space";
    const kinds = Object.keys(KINDS).filter(kind => token.span.classList.contains(kind));
    const words = [name, probability(token.p), ...kinds.map(kind => KINDS[kind])];
    token.span.setAttribute("aria-label", words.join(", "));
    token.span.tabIndex = i === 0 ? 0 : -1;
    token.span.onclick = () => chooseToken(i);
    token.span.onmouseenter = () => showOthers(i);
    token.span.onkeydown = event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (step && shown[i + step]) shown[i + step].span.focus();
      if (event.key === "Enter" || event.key === " ") chooseToken(i);
      if (step || event.key === " ") event.preventDefault();
    };
  });
}

function chooseToken(i) {
  pressed = i;
  shown.forEach((token, j) => {
    token.span.setAttribute("aria-pressed", String(j === i));
    token.span.tabIndex = j === i ? 0 : -1;
  });
  showOthers(i);
  // On a phone they may stand below the window. A mouse that rests would point at another token afterwards.
  if (matchMedia("(hover: none)").matches) $("others").scrollIntoView({block: "nearest"});
}

// Shows what else might have stood in the place of token `i`, which the reader points at or chose.
// With null it shows nothing.
function showOthers(i) {
  if (i === null) return $("others").replaceChildren();
  const label = element("span", "", `Here it might have said, at temperature ${number("temperature") || 1}:`);
  const buttons = shown[i].others.map(other => {
    const token = visible(other.text).replaceAll(" ", "\u2423");       // " no" and " no " are two tokens
    const button = element("button", "", `${other.text === END ? "\u25a0 (the end)" : token} `);
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
// All stages at once, or one stage of all runs

const MEANING = {
  "base": "imitated a messy corpus", "cold-start": "plus 300 clean examples",
  "rl": "plus trial and error", "rejection": "taught by its own right answers",
  "align": "made helpful and harmless"};

// The models that are compared: {run, stage, title, meaning}.
function compared() {
  const {run, stage} = settings();
  if ($("compare-by").value === "runs") {
    const runs = world.runs.filter(other => other.stages.includes(stage));
    return runs.map(other => ({run: other.name, stage, title: other.name, meaning: stage}));
  }
  return runOf(run).stages.map(name => ({run, stage: name, title: name, meaning: MEANING[name] || ""}));
}

function runOf(name) {
  return world.runs.find(run => run.name === name);
}

function compare() {
  saveState();
  const columns = compared().map(({run, stage, title, meaning}) => {
    const column = element("article");
    const box = element("div", "answer"), verdict = element("p", "verdict"), score = element("p", "score");
    const heading = element("h3", "", title);
    heading.append(element("small", "", meaning));
    column.append(heading, score, box, verdict);
    ask(`compare ${run} ${stage}`, "/think", {...settings(), run, stage}, showAnswerIn(box, verdict),
        "Answering");
    return column;
  });
  $("columns").replaceChildren(...columns);
}

// The task that a prompt belongs to, by its first word.
function taskOf(prompt) {
  const word = prompt.trim().split(/\s+/)[0].toLowerCase();
  return world.tasks.find(task => task.word === word);
}

function scoreAll() {
  say("error", "");
  const task = taskOf($("prompt").value);
  if (!task) return say("error", "Chat is not scored here: type a problem first.");
  if (!$("columns").children.length) compare();
  const places = document.querySelectorAll("#columns .score");
  const models = compared();
  const what = `Scoring ${models.map(model => model.title).join(", ")}`;
  models.forEach(({run, stage}, i) => {
    scoreOne({run, stage, task: task.name, number: 100, seed: number("seed")}, places[i], what);
  });
}

// Each column says how far its own score is, so `what` says it of none.
async function scoreOne(request, place, what) {
  const name = `score ${request.run} ${request.stage}`;
  let result = "";
  place.textContent = "scoring\u2026";
  await ask(name, "/score", request, event => {
    const bounds = `95% interval ${percent(event.low)} to ${percent(event.high)}`;
    const levels = `level${event.levels.length > 1 ? "s" : ""} ${event.levels.join(", ")}`;
    result = `${event.right} of ${event.of} right (${bounds}; ${levels})`;
    place.textContent = result;
  }, what, () => {});
  if (!asking[name]) place.textContent = result;      // else it is scored anew
}

// ---------------------------------------------------------------------------
// More thought

// The budget or the number of votes was changed: what the former one gave would mislead.
function forgetForced() {
  if (asking.force) asking.force.abort();
  $("forced").replaceChildren();
  say("forced-verdict", "");
}

function forgetVote() {
  $("bars").replaceChildren();
  say("vote-said", "");
}

function answerWithin() {
  saveState();
  ask("force", "/think", {...settings(), budget: number("budget")},
      showAnswerIn($("forced"), $("forced-verdict")), "Answering within the budget");
}

function measureBudgets() {
  const points = [], request = {...sampling(), number: 32};
  ask("budgets", "/budgets", request, event => {
    points.push({x: event.budget, y: event.right / event.of, low: event.low, high: event.high});
    const note = `How many of ${event.of} answers are right with each budget, at temperature `
      + `${request.temperature}. A thin line is a 95% interval.`;
    $("budget-chart").replaceChildren(element("p", "note", note), chart({
      lines: [{points, name: ""}], xMax: world.max_budget, label: "budget: tokens of thinking",
      says: `With a budget of ${event.budget} tokens, ${event.right} of ${event.of} answers are right`}));
  }, "Measuring budgets");
}

function vote() {
  saveState();
  forgetVote();
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
  }, "Voting");
}
