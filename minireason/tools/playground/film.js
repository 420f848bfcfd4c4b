"use strict";
// The film of RL: one prompt, answered at moments of the training. film.py sends the answers in turn.

let moments = [];           // of the film: {iteration, article, button, show}
let filmPoints = [];        // of RL's curves: {iteration, reward, length}
let playing = null;         // the timer that moves the slider

function askFilm() {
  saveState();
  stopPlaying();
  say("film-missing", "");
  ask("film", "/film", settings(), event => {
    if (event.iterations) beginFilm(event);
    else moments.find(moment => moment.iteration === event.iteration).show(event);
  }, "Filming");
}

function beginFilm({iterations, points, missing}) {
  filmPoints = points;
  say("film-missing", missing);
  moments = iterations.map((iteration, i) => {
    const article = element("article"), box = element("div", "answer"), verdict = element("p", "verdict");
    article.append(box, verdict);
    const button = element("button", "", String(iteration));
    button.type = "button";
    button.onclick = () => { stopPlaying(); showMoment(i); };
    const showAnswer = showAnswerIn(box, verdict);
    const show = event => {
      showAnswer(event);
      if (event.verdict) markMoment(button, iteration, event.verdict.correct);
    };
    return {iteration, article, button, show};
  });
  $("moments").replaceChildren(...moments.map(moment => moment.button));
  $("film-answers").replaceChildren(...moments.map(moment => moment.article));
  $("moment").max = moments.length - 1;
  $("film-controls").hidden = false;
  showMoment(Math.min(number("moment"), moments.length - 1));
}

// Each moment's button shows whether its answer was right. Chat is not judged.
function markMoment(button, iteration, correct) {
  if (correct === null) return;
  button.append(correct ? " \u2713" : " \u2717");
  button.classList.add(correct ? "good" : "bad");
  button.setAttribute("aria-label", `iteration ${iteration}: ${correct ? "right" : "wrong"}`);
}

function showMoment(i) {
  if (!moments.length) return;
  $("moment").value = i;
  const {iteration} = moments[i];
  moments.forEach((moment, j) => {
    moment.article.hidden = j !== i;
    moment.button.setAttribute("aria-pressed", String(j === i));
  });
  const name = i === 0 && iteration === 0 ? "before RL" : `after ${iteration} iterations of RL`;
  say("moment-shown", name);
  $("moment").setAttribute("aria-valuetext", name);
  showFilmCharts(iteration);
  saveState();
}

function showFilmCharts(mark) {
  if (!filmPoints.length) return $("film-charts").replaceChildren();
  const last = filmPoints[filmPoints.length - 1];
  const longest = Math.max(...filmPoints.map(point => point.length));
  const line = name => [{points: filmPoints.map(point => ({x: point.iteration, y: point[name]})), name: ""}];
  const axis = {xMax: last.iteration, label: "iterations of RL", mark, height: 150};
  $("film-charts").replaceChildren(
    element("h3", "", "Mean reward in training: the share of right answers, less any price"),
    chart({...axis, lines: line("reward"), says: `Reward: ${percent(last.reward)} at the end`}),
    element("h3", "", "Tokens of an answer in training, on average"),
    chart({...axis, lines: line("length"), yMax: 10 * Math.ceil(longest / 10),
           yText: value => value.toFixed(0), says: `Length: ${last.length.toFixed(0)} tokens at the end`}));
}

// Moves the slider once a second, from the beginning if it stands at the end.
function play() {
  if (playing) return stopPlaying();
  const end = moments.length - 1;
  showMoment(number("moment") >= end ? 0 : number("moment"));
  $("play").textContent = "Pause";
  playing = setInterval(() => {
    showMoment(Math.min(end, number("moment") + 1));
    if (number("moment") >= end) stopPlaying();
  }, 1000);
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
}

function forgetFilm() {
  stopPlaying();
  moments = [];
  filmPoints = [];
  for (const id of ["film-answers", "film-charts", "moments"]) $(id).replaceChildren();
  say("film-missing", "");
  $("film-controls").hidden = true;
}
