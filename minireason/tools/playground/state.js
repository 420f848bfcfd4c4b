"use strict";
// Keeps the state of the page in its address, so that a link shows the same. Also starts the page.

const TABS = ["think", "compare", "more", "lab", "film"];
const KEPT = ["prompt", "run", "stage", "temperature", "seed", "compare-by", "algo", "group-size", "rate",
              "bug", "budget", "votes", "moment"];
let tab = "think";
let waiting = null;         // the timer that runs after the end of typing
let hasTyped = false;       // something that has not been answered yet
const INCLUDED = "The included weights come with the repository, made by python train.py, so you need not "
  + "train first.";

function saveState() {
  const state = new URLSearchParams({tab});
  for (const id of KEPT) state.set(id, $(id).value);
  if ($("mended").checked) state.set("mended", "yes");
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
    if (id === "run") fillStages();
  }
  $("mended").checked = state.get("mended") === "yes";
  describeBug();
  written = (state.get("written") || "").split(".").filter(Boolean).map(Number).filter(Number.isInteger);
  $("budget-shown").textContent = `${$("budget").value} tokens`;
  showTab(TABS.includes(state.get("tab")) ? state.get("tab") : "think");
}

function showTab(name) {
  tab = name;
  for (const other of TABS) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  showUses();
}

const isChat = () => !taskOf($("prompt").value);

// Says in two tabs what chat cannot be used for, and disables what has no use now.
function showUses() {
  const byStages = $("compare-by").value === "stages";
  $("stage").disabled = tab === "film" || (tab === "compare" && byStages);      // several stages answer there
  say("more-note", isChat() ? "Measuring and voting need a problem: chat has no right answer." : "");
  for (const id of ["curve", "vote", "votes"]) $(id).disabled = isChat();
  showLabState();
}

function openTab(name) {
  showTab(name);
  saveState();
  say("error", "");
  fillTab();
}

// Answers in the open tab, if it shows no answer yet. The lab waits for its button: it is work.
function fillTab() {
  const isEmpty = {think: !shown.length, compare: !$("columns").children.length,
                   more: !$("forced").children.length, film: !moments.length}[tab];
  if (isEmpty) answer();
}

// Typing has ended, so what was typed is answered soon. The wait is for a quick click with which the reader
// left the box: a button or a tab does its own work first.
function endTyping() {
  clearTimeout(waiting);
  if (hasTyped && $("prompt").value.trim()) waiting = setTimeout(fillTab, 200);
}

// The answers on the page belong to a prompt and settings that were changed: they go, so as not to mislead.
// Those that are on their way are ended.
function forgetAnswer() {
  clearTimeout(waiting);
  for (const place in asking) {
    if (place !== "lab" && place !== "draw") asking[place].abort();
  }
  written = [];
  shown = [];
  pressed = null;
  for (const id of ["answer", "others", "columns", "budget-chart"]) $(id).replaceChildren();
  say("verdict", "");
  $("own").hidden = true;
  forgetForced();
  forgetVote();
  forgetFilm();
}

// What the button "Answer" does depends on what is looked at.
function answer() {
  clearTimeout(waiting);
  hasTyped = false;
  say("error", "");
  if (!$("prompt").value.trim()) return say("error", "Type a problem first, or choose one.");
  if (tab === "think") think();
  if (tab === "compare") compare();
  if (tab === "more") answerWithin();
  if (tab === "lab" && !$("reset").disabled) work(beginLab);
  if (tab === "film") askFilm();
}

// ---------------------------------------------------------------------------
// The beginning

const EXAMPLES = ["compute 7*7+8*3-9", "make 42 from 3 8 6", "program 1->5 2->7 6->15",
                  "hello my name is ana"];

function askFor(prompt) {
  $("prompt").value = prompt;
  forgetAnswer();
  showUses();
  answer();
}

function addExamples() {
  for (const prompt of EXAMPLES) {
    const button = element("button", "", prompt);
    button.type = "button";
    button.onclick = () => askFor(prompt);
    $("tryout").append(button);
  }
  const label = element("span", "", "A held-out problem:");
  const buttons = world.tasks.map(task => {
    const select = element("select");
    select.setAttribute("aria-label", `Level of ${task.name}`);
    for (const level of task.scored.length ? task.scored : task.levels) {     // texts may hold others
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
      }, "Drawing a problem");
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
  for (const name of TABS) {
    $(`tab-${name}`).onclick = () => openTab(name);
  }
  document.querySelector(".tabs").onkeydown = event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    openTab(TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]);
    $(`tab-${tab}`).focus();
  };
  for (const id of ["prompt", "temperature", "seed"]) {
    $(id).oninput = () => {
      forgetAnswer();
      hasTyped = true;
    };
    $(id).onblur = endTyping;
    $(id).onchange = endTyping;     // the arrows of a number box change it while the reader stays in it
  }
  for (const id of ["run", "stage", "compare-by"]) {
    $(id).oninput = () => {         // what is chosen from a list is complete, so it is answered at once
      if (id === "run") fillStages();
      forgetAnswer();
      fillTab();
    };
  }
  window.onhashchange = () => {       // a link was pasted into the open page, or one of its own was chosen
    stopAll();
    forgetAnswer();
    begin();
    $(`tab-${tab}`).focus({preventScroll: true});
    document.querySelector(".tabs").scrollIntoView();       // the exercises' links stand far below
  };
  $("budget").oninput = () => {
    $("budget-shown").textContent = `${$("budget").value} tokens`;
    forgetForced();
  };
  $("budget").onchange = answerWithin;
  $("votes").onchange = vote;
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
  $("score").onclick = scoreAll;
  $("curve").onclick = measureBudgets;
  $("vote").onclick = vote;
  $("reset").onclick = () => work(beginLab);
  $("sample").onclick = () => work(sampleGroup);
  $("step").onclick = () => work(takeStep);
  $("ten").onclick = () => work(tenSteps);
  $("bug").oninput = describeBug;
  $("algo").oninput = () => {         // the bugs of the other algorithm do not exist in this one
    if (chosenBug() && chosenBug().algo !== $("algo").value) $("bug").value = "";
    describeBug();
  };
  $("numbers").oninput = () => $("group").classList.toggle("numbers", $("numbers").checked);
  $("stop").onclick = stopAll;
  $("moment").oninput = () => { stopPlaying(); showMoment(number("moment")); };
  $("play").onclick = play;
  $("answer").onmouseleave = () => showOthers(pressed);
  $("own").onclick = () => {
    written = [];
    think();
  };
}

// Fills the list of stages with those of the chosen run. Chooses the stage that was chosen before if this run
// has it, else rl, else the last.
function fillStages() {
  const {stages} = runOf($("run").value);
  const wanted = [$("stage").value, "rl"].find(stage => stages.includes(stage));
  const options = stages.map(stage => {
    const option = element("option", "", MEANING[stage] ? `${stage}: ${MEANING[stage]}` : stage);
    option.value = stage;
    return option;
  });
  $("stage").replaceChildren(...options);
  $("stage").value = wanted || stages[stages.length - 1];
}

function addChoices() {
  for (const {name} of world.runs) {
    const option = element("option", "", name === "pretrained" ? "the included weights" : name);
    option.value = name;
    $("run").append(option);
  }
  const isOne = world.runs.length === 1;
  const hasIncluded = world.runs.some(({name}) => name === "pretrained");
  if (hasIncluded) say("about", INCLUDED);
  else if (isOne) say("about", world.runs[0].name);
  $("run-label").hidden = isOne;
  $("compare-by-label").hidden = isOne;
  fillStages();
  for (const {name} of world.bugs) $("bug").append(element("option", "", name));
  $("budget").max = world.max_budget;
}

// Reads the address and answers what it asks for.
function begin() {
  loadState();
  if (tab !== "lab") answer();
}

async function start() {
  connect();
  await ask("world", "/world", {}, event => { world = event; }, "Loading");
  if (!world) return;
  addChoices();
  addExamples();
  document.querySelector("main").oninput = showUses;      // after what each box does itself
  begin();
}

start();
