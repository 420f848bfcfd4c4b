"use strict";
// One step of RL after the other, on a copy of the model: lab.py takes them.

let lab = null;             // its name on the server
let passRates = [];         // measured before the first step, and after each
let labTitle = "";          // what it learns, and how
let begunWith = "";         // the request that began it, as text
let hasGroup = false;       // is there a group that was not learned from yet?
let stepsDone = 0;
let labBug = null;          // the bug that it learns with, if any
let isWorking = false;
let labAction = "";         // what it does at the moment
let stepsLeft = "";         // how far ten steps are, in words
let formerLab = null;       // the one before it, whose curve stays for comparison: {title, points}

const DOING = {begin: "Copying the model", measure: "Measuring", group: "Sampling a group",
               step: "Learning from the group"};

async function labAsks(action, onEvent, more = {}) {
  labAction = action;
  return ask("lab", "/lab", {action, lab, ...more}, onEvent, stepsLeft + DOING[action]);
}

const chosenBug = () => world.bugs.find(bug => bug.name === $("bug").value);

// What the boxes say that a lab learns, and how. The temperature is none of its settings.
function labRequest() {
  const {run, stage, prompt, seed} = settings();
  const bug = chosenBug();
  return {run, stage, prompt, seed, algo: bug ? bug.algo : $("algo").value, group_size: number("group-size"),
          rate: $("rate").value, bug: bug ? bug.name : "", mended: $("mended").checked};
}

// Begins a lab, which ends the one before. If that has taken steps, the reader is asked first.
async function beginLab() {
  const question = `Begin a new lab? The one on this page has taken ${stepsDone} of ${world.max_steps} `
    + "steps. It ends, and what it has learned is lost.";
  if (stepsDone > 0 && !confirm(question)) return;
  saveState();
  isStopped = false;
  const request = labRequest(), bug = chosenBug();
  const hasBegun = await labAsks("begin", event => { lab = event.lab; }, request);
  if (!hasBegun) return;            // the one before goes on
  if (passRates.length > 1) formerLab = {title: labTitle, points: passRates};
  passRates = [];
  stepsDone = 0;
  hasGroup = false;
  labBug = bug;
  say("lab-said", "");
  begunWith = JSON.stringify(request);
  labTitle = `${request.algo.toUpperCase()} from ${request.stage}, ${request.prompt}`;
  if (bug) labTitle += `, ${request.mended ? "settings of the bug" : "bug"}: ${bug.name}`;
  $("group").replaceChildren();
  $("lab-chart").replaceChildren();
  if (!isStopped && await measure()) await sampleGroup();
}

async function measure() {
  return labAsks("measure", event => {
    passRates.push({x: event.steps_done, y: event.right / event.of, low: event.low, high: event.high,
                    right: event.right, of: event.of});
    showLabChart();
  });
}

function showLabChart() {
  const lines = [{points: passRates, name: ""}];
  const parts = [element("h3", "", labTitle)];
  if (formerLab) {
    lines.unshift({points: formerLab.points, name: "former"});
    parts.push(element("p", "note", `Dashed: ${formerLab.title}`));
  }
  const {right, of} = passRates[passRates.length - 1];
  parts.push(element("p", "note", `How many of ${of} fresh answers are right after each step. A thin line is `
    + "a 95% interval: a change within it may be chance."));
  parts.push(chart({lines, xMax: world.max_steps, label: "steps",
                    says: `Right answers: now ${right} of ${of}`, height: 180}));
  $("lab-chart").replaceChildren(...parts);
}

async function sampleGroup() {
  hasGroup = await labAsks("group", event => showGroup(event, false));
  if (hasGroup) say("lab-said", "These are the answers that the next step will learn from.");
  return hasGroup;
}

async function takeStep() {
  if (!hasGroup && !await sampleGroup()) return false;
  hasGroup = false;
  const hasLearned = await labAsks("step", event => {
    stepsDone = event.steps_done;
    showGroup(event, true);
    say("lab-said", stepText(event));
  });
  return hasLearned && !isStopped && measure();
}

// Runs `steps`, a function that does some of the lab's work. The lab's buttons are disabled meanwhile.
async function work(steps) {
  say("error", "");
  isWorking = true;
  isStopped = false;
  const pressed = document.activeElement;
  showLabState();
  await steps();
  isWorking = false;
  stepsLeft = "";
  showLabState();
  focusAgain(pressed);
}

// A disabled button loses the keyboard's focus. This gives the focus back to the button that was pressed or,
// if that is still disabled, to the one to press next.
function focusAgain(pressed) {
  if (pressed === document.body || document.activeElement !== document.body || tab !== "lab") return;
  const next = [pressed, $("step"), $("sample"), $("reset")].find(button => !button.disabled);
  if (next) next.focus({preventScroll: true});
}

async function tenSteps() {
  for (let i = 0; i < 10 && stepsDone < world.max_steps; i++) {
    stepsLeft = `Step ${i + 1} of 10: `;
    if (!await takeStep()) return;
  }
}

function stepText(event) {
  const isGrpo = event.metrics.value_loss === undefined;
  const right = `Step ${event.steps_done}: ${percent(event.mean)} of these answers were right. `;
  const hasKl = event.metrics.kl !== undefined;      // a KL pulls even where all answers are equally good
  if (isGrpo && event.std === 0 && !hasKl) {
    const reason = event.mean ? "The prompt is solved already" : "The prompt is too hard";
    return right + `${reason}, so GRPO learned nothing. Draw ${event.mean ? "a harder" : "an easier"} one.`;
  }
  const colors = "Green tokens became likelier, yellow ones less likely. "
    + "Where better answers share a token, it may be green in a wrong one too. ";
  const critic = isGrpo || hasValues(event) ? ""
    : "The critic expected 0 everywhere, as it does before it has learned. ";
  const remark = isGrpo ? ", and it differs from 0 only as far as answers differ in length." : ".";
  const value = event.metrics.policy_loss.toFixed(3).replace(/^-(0\.0+)$/, "$1");        // no minus zero
  const loss = `The loss, ${value}, is no measure of progress: `
    + `advantages add up to 0${remark}`;
  const bug = labBug && !$("mended").checked ? ` The bug: ${labBug.meaning}` : "";
  return right + colors + critic + loss + bug;
}

// Says what keeps the lab from a step, and enables the buttons that have a use now.
function showLabState() {
  const hasChanged = lab !== null && JSON.stringify(labRequest()) !== begunWith;
  const changed = "The prompt or a setting has changed since this lab began. Set it back to go on. "
    + "Begin again ends this lab.";
  const isOver = stepsDone >= world.max_steps;
  if (isChat()) say("lab-note", "Learning needs a problem: chat has no right answer.");
  else if (hasChanged) say("lab-note", changed);
  else say("lab-note", isOver ? `A lab has ${world.max_steps} steps. Begin again to go on.` : "");
  const canStep = lab && !isWorking && !isOver && !hasChanged;
  $("reset").textContent = lab ? "Begin again" : "Begin";
  $("reset").disabled = isWorking || isChat();
  const beginsNext = !lab || isOver || hasChanged;      // is it the button to press next?
  $("reset").classList.toggle("primary", beginsNext);
  $("step").classList.toggle("primary", !beginsNext);
  $("answer-button").textContent = tab === "lab" ? $("reset").textContent : "Answer";
  $("answer-button").disabled = tab === "lab" && $("reset").disabled;
  $("sample").disabled = !canStep || hasGroup;
  $("step").disabled = $("ten").disabled = !canStep;
}

// Does the critic expect anything? At first it expects 0 everywhere, and GRPO has no critic.
function hasValues(event) {
  return event.completions.some(({tokens}) => tokens.some(({value}) => Math.abs(value) > 0.005));
}

const GRPO_ADVANTAGE = "The advantage is how much better than the mean an answer was, divided by the "
  + "standard deviation: above 0, its tokens are made likelier.";
const PPO_ADVANTAGE = "Each token has its own advantage, which says how much better than the critic expected "
  + "it went on: above 0, it is made likelier. Advantages are scaled to mean 0 and standard deviation 1.";
const CURVES = " A small curve shows what the critic expects at each token of an answer, from 0 to 1. It "
  + "begins at 0 and rises slowly.";

function showGroup(event, isAfter) {
  const hasCurves = hasValues(event);
  const isPpo = event.completions[0].tokens[0].value !== undefined;
  const articles = event.completions.map(completion => {
    const article = element("article", completion.reward ? "good" : "bad");
    const advantage = completion.tokens[0].advantage.toFixed(2);
    article.append(element("h3", "", `reward ${completion.reward}, ${isPpo ? "first " : ""}advantage `
                                     + advantage));
    const box = element("div", "answer");
    for (const token of completion.tokens) {
      const change = isAfter ? token.new - token.old : 0;
      const span = addToken(box, token.text);
      span.dataset.numbers = numbersUnder(token, isAfter);
      span.title = `probability ${probability(Math.exp(token.old))}`
        + (isAfter ? `, now ${probability(Math.exp(token.new))}` : "")
        + (token.value === undefined ? "" : `, value ${token.value.toFixed(2)}`)
        + `, advantage ${token.advantage.toFixed(2)}`;
      if (Math.abs(change) > 0.005) span.classList.add(change > 0 ? "up" : "down");
    }
    const row = element("div", "row");        // a curve stands beside its answer, or below on a phone
    row.append(box);
    if (hasCurves) row.append(valueCurve(completion.tokens));
    article.append(row);
    return article;
  });
  const summary = element("p", "", `Rewards of this group: mean ${event.mean.toFixed(2)}, standard deviation `
    + `${event.std.toFixed(2)}. ` + (isPpo ? PPO_ADVANTAGE : GRPO_ADVANTAGE)
    + (hasCurves ? CURVES : ""));
  $("group").replaceChildren(summary, ...(isAfter ? [changeTable(event.completions)] : []), ...articles);
}

const MOST_CHANGES = 4;     // rows of the table: so many of the likelier tokens, and so many of the others

// A token's probability in percent, before and after the step. What was sure and stays so has no number.
function numbersUnder(token, isAfter) {
  const before = Math.round(100 * Math.exp(token.old));
  const now = isAfter ? Math.round(100 * Math.exp(token.new)) : before;
  if (before !== now) return `${before}\u2192${now}`;
  return before > 98 ? "" : String(before);
}

const CONTEXT = 14;         // characters of the text before a token, in the table

// A table of the tokens whose probability changed most. A row is a token and the end of the text before it.
// The changes in all places with the same token and end are added up.
function changeTable(completions) {
  const changes = new Map();
  for (const {tokens} of completions) {
    let beginning = "";
    for (const token of tokens) {
      const isCut = beginning.length > CONTEXT;
      const context = (isCut ? "\u2026" : "") + beginning.slice(-CONTEXT);
      const place = context + token.text;
      const row = changes.get(place) || {text: token.text, context, before: 0, now: 0, places: 0};
      row.before += Math.exp(token.old);
      row.now += Math.exp(token.new);
      row.places++;
      changes.set(place, row);
      beginning += token.text;
    }
  }
  const change = row => row.now - row.before;        // summed over its places
  const rows = [...changes.values()].sort((one, other) => change(other) - change(one));
  // The rows in the middle changed least.
  if (rows.length > 2 * MOST_CHANGES) rows.splice(MOST_CHANGES, rows.length - 2 * MOST_CHANGES);
  const table = element("table");
  table.append(element("caption", "", "The tokens that changed most"));
  table.append(tableRow("th", ["text so far", "token", "before", "now", "places"]));
  for (const row of rows) {
    const text = row.text === END ? "\u25a0 (the end)" : visible(row.text).replaceAll(" ", "\u2423");
    const before = probability(row.before / row.places), now = probability(row.now / row.places);
    const line = tableRow("td", [visible(row.context), text, before, now, row.places]);
    line.className = change(row) > 0 ? "up" : "down";
    table.append(line);
  }
  return table;
}

function tableRow(kind, texts) {
  const row = element("tr");
  for (const text of texts) row.append(element(kind, "", text));
  return row;
}

// What PPO's critic expects at each token, from 0 to 1: a small chart, as there are up to 16.
function valueCurve(tokens) {
  const points = tokens.map((token, i) => ({x: i + 1, y: token.value}));
  return chart({lines: [{points, name: "critic"}], xMax: tokens.length, yText: value => value.toFixed(1),
                width: 230, height: 60,
                says: `The critic's value: ${points[0].y.toFixed(2)} at the first token, `
                  + `${points[points.length - 1].y.toFixed(2)} at the last`});
}

// A bug belongs to an algorithm, and often to settings that let it show.
function describeBug() {
  const bug = chosenBug();
  $("mended-label").hidden = !bug;
  if (!bug) return say("bug-said", "");
  $("algo").value = bug.algo;
  const settings = Object.entries(bug.settings).map(([name, value]) => `${name} ${value}`).join(", ");
  say("bug-said", `The bug: ${bug.meaning}` + (settings ? ` It needs ${settings}.` : ""));
}
