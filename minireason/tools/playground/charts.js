"use strict";
// Charts, drawn as SVG. One unit of a drawing is one pixel of the page, so that text has the same size
// on a phone.

function chartWidth() {
  return Math.max(250, Math.min(760, document.querySelector("main").clientWidth - 84));
}

// lines:  [{points: [{x, y, low, high}], name: a class}], where low and high, if given, are drawn as an
//         interval
// xMax, yMax: the ends of the axes; both begin at 0.   yText: a value of y as text
// label:  what x is; a small chart has none.   mark: an x that gets a vertical line
// says:   the chart in words, for a screen reader
function chart({lines, xMax, yMax = 1, yText = percent, label = "", mark = null, says,
                width = chartWidth(), height = 220}) {
  const left = 44, bottom = label ? 38 : 22, top = 10, right = 14;
  const x = value => left + (width - left - right) * Math.min(1, value / xMax);
  const y = value => top + (height - top - bottom) * (1 - Math.max(0, Math.min(1, value / yMax)));
  const svg = svgElement("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
                                 "aria-label": says});
  const add = (name, attributes, text = "") => svg.append(svgElement(name, attributes, text));
  for (const part of [0, 0.5, 1]) {
    const value = part * yMax;
    add("line", {class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value)});
    add("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, yText(value));
  }
  for (let value = 0; value <= xMax; value += tickStep(xMax)) {
    add("text", {x: x(value), y: height - bottom + 16, "text-anchor": "middle"}, String(value));
  }
  add("text", {x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle"}, label);
  if (mark !== null) add("line", {class: "mark", x1: x(mark), x2: x(mark), y1: top, y2: height - bottom});
  for (const {points, name} of lines) {
    for (const point of points.filter(point => point.low !== undefined)) {
      add("line", {class: `whisker ${name}`, x1: x(point.x), x2: x(point.x), y1: y(point.low),
                   y2: y(point.high)});
    }
    const path = points.map(point => `${x(point.x)},${y(point.y)}`).join(" ");
    add("polyline", {class: `line ${name}`, points: path});
    if (points.length > 40) continue;       // so many dots would hide the line
    for (const point of points) add("circle", {class: `dot ${name}`, cx: x(point.x), cy: y(point.y), r: 3});
  }
  return svg;
}

// The first of 1, 2, 5, 10, 20, 50, ... that divides an axis into at most five parts.
function tickStep(end) {
  for (let power = 1; true; power *= 10) {
    for (const step of [power, 2 * power, 5 * power]) {
      if (5 * step >= end) return step;
    }
  }
}

function svgElement(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.textContent = text;
  return made;
}
