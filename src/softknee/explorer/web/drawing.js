// Charts as SVG, coloured by the style sheet.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a text becomes a text node, null is left out. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "text", "rect", "title", "polyline"].includes(tag);
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return made;
}

/** MathML that this page's own code or softknee wrote. */
function maths(markup, display = false) {
  const holder = document.createElement("div");
  holder.innerHTML = markup.startsWith("<math") ? markup : `<math${display ? ' display="block"' : ""}>${markup}</math>`;
  return holder.firstElementChild;
}

/** An element that scrolls where it is too wide: by keyboard, too. */
function scrolling(element) {
  scrolling.observer ??= new ResizeObserver((seen) => {
    for (const { target } of seen) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  scrolling.observer.observe(element);
  return element;
}

/** Round places between low and high, some `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

/** The same, but never so few that they are no scale. */
function scale(low, high, count) {
  const found = ticks(low, high, count);
  return found.length < 3 ? ticks(low, high, 2 * count) : found;
}

/** What the curves take up; of those that grow steeply, only a part. */
function heightsOf(lines, [x0, x1], most = Math.max(Math.abs(x0), Math.abs(x1)) * 1.05) {
  let [low, high] = [0, 0];
  for (const line of lines)
    for (const [, y] of line)
      if (Number.isFinite(y)) [low, high] = [Math.min(low, Math.max(y, -most)), Math.max(high, Math.min(y, most))];
  const span = high - low || 1;
  return [low - 0.06 * span, high + 0.06 * span];
}

/** Increasing places at least a gap apart, as near to the wanted ones as can be. */
function apart(wanted, gap, low, high) {
  const groups = [];
  wanted.forEach((y, i) => {
    groups.push([y - i * gap, 1]);
    while (groups.length > 1 && groups.at(-2)[0] > groups.at(-1)[0]) {
      const [m, n] = groups.pop(), g = groups.at(-1);
      [g[0], g[1]] = [(g[0] * g[1] + m * n) / (g[1] + n), g[1] + n];
    }
  });
  const flat = groups.flatMap(([m, n]) => Array(n).fill(m)), top = high - (wanted.length - 1) * gap;
  return flat.map((y, i) => Math.min(Math.max(y, low), Math.max(top, low)) + i * gap);
}

/**
 * Draws a chart into a host and returns how its coordinates map.
 * series: [{colour, label, lines: [[[x, y], ...], ...], marks: [{x, y, open}], dots: [[x, y], ...], bars}]
 */
function chart(host, { series, x, y, xName, yName, label, labels = false, log = false, height, xTicks }) {
  const width = Math.max(240, host.clientWidth), tall = height ?? Math.round(Math.min(380, Math.max(210, width * 0.62)));
  const names = labels && width > 480 ? series.filter((s) => s.label).map((s) => ({ ...s, label: s.label.length > 31 ? `${s.label.slice(0, 17)}…${s.label.slice(-13)}` : s.label })) : [];
  const [x0, x1] = x, [y0, y1] = y, [top, bottom] = [12, 38];
  const places = log ? ticks(y0, y1, 5).filter((t) => Number.isInteger(t)) : scale(y0, y1, Math.max(3, (tall - top - bottom) / 48));
  const heights = places.map((t) => (log ? `10${raised(t)}` : digits(t, 4)));
  const margin = { left: Math.max(46, 12 + Math.max(...heights.map(widthOf))), right: names.length ? 20 + Math.max(...names.map((s) => widthOf(s.label))) : 12, top, bottom };
  const inner = { width: width - margin.left - margin.right, height: tall - margin.top - margin.bottom };
  const px = (v) => margin.left + ((v - x0) / (x1 - x0)) * inner.width;
  const py = (v) => margin.top + (1 - (v - y0) / (y1 - y0)) * inner.height;
  const clip = `clip-${chart.count = (chart.count ?? 0) + 1}`;
  const root = make("svg", { viewBox: `0 0 ${width} ${tall}`, width, height: tall, role: "img", "aria-label": label, class: "chart" });
  const defs = document.createElementNS(SVG, "defs"), path = document.createElementNS(SVG, "clipPath");
  path.setAttribute("id", clip);
  path.append(make("rect", { x: margin.left, y: margin.top - 4, width: inner.width, height: inner.height + 8 }));
  defs.append(path);
  root.append(defs);
  const grid = make("g", { class: "grid", "aria-hidden": "true" });
  places.forEach((t, i) => {
    grid.append(make("line", { x1: margin.left, x2: width - margin.right, y1: py(t), y2: py(t), class: Math.abs(t) < 1e-12 && !log ? "axis" : null }));
    grid.append(make("text", { x: margin.left - 7, y: py(t) + 4, "text-anchor": "end" }, heights[i]));
  });
  for (const t of xTicks ?? ticks(x0, x1, Math.max(4, inner.width / 64))) {
    grid.append(make("line", { x1: px(t), x2: px(t), y1: margin.top, y2: tall - margin.bottom, class: Math.abs(t) < 1e-12 ? "axis" : null }));
    grid.append(make("text", { x: px(t), y: tall - margin.bottom + 17, "text-anchor": "middle" }, digits(t, 4)));
  }
  grid.append(make("text", { x: margin.left + inner.width / 2, y: tall - 5, "text-anchor": "middle", class: "name" }, xName));
  root.append(grid, make("text", { x: margin.left + 8, y: margin.top + 11, class: "name title" }, yName));
  const drawn = make("g", { "clip-path": `url(#${clip})`, "aria-hidden": "true" });
  for (const s of series) {
    for (const bar of s.bars ?? [])
      drawn.append(make("rect", { x: px(bar.from), width: Math.max(0.5, px(bar.to) - px(bar.from) - 0.5), y: py(bar.height), height: Math.max(0, py(0) - py(bar.height)), style: `fill:${s.colour}`, class: "bar" }));
    for (const line of s.lines ?? []) {
      const d = line.map(([a, b], i) => `${i ? "L" : "M"}${px(a).toFixed(2)} ${Math.max(-9999, Math.min(9999, py(b))).toFixed(2)}`).join("");
      drawn.append(make("path", { d, style: `stroke:${s.colour}`, class: `curve ${s.dash ?? ""}` }));
    }
    for (const [a, b] of s.dots ?? []) if (Number.isFinite(b)) drawn.append(make("circle", { cx: px(a), cy: py(b), r: 2.6, style: `fill:${s.colour}`, class: "dot" }));
    for (const m of s.marks ?? []) drawn.append(make("circle", { cx: px(m.x), cy: py(m.y), r: 3.8, style: `stroke:${s.colour};fill:${m.open ? "var(--paper)" : s.colour}`, class: "mark" }));
  }
  root.append(drawn);
  const ends = names.map((s) => ({ s, at: py(Math.max(y0, Math.min(y1, lastOf(s.lines)))) })).sort((a, b) => a.at - b.at);
  apart(ends.map((e) => e.at), 16, margin.top, tall - margin.bottom).forEach((at, i) => {
    const { s } = ends[i], right = width - margin.right;
    root.append(make("line", { x1: right + 1, y1: ends[i].at, x2: right + 8, y2: at, style: `stroke:${s.colour}`, class: "leader" }));
    root.append(make("text", { x: right + 11, y: at + 4, style: `fill:${s.colour}`, class: "end", "aria-hidden": "true" }, s.label));
  });
  host.replaceChildren(root);
  return { root, px, py, fromPx: (p) => x0 + ((p - margin.left) / inner.width) * (x1 - x0), top: margin.top, bottom: tall - margin.bottom, left: margin.left, right: width - margin.right };
}

/** The width of a label in bold 12.5 pixels. */
function widthOf(text) {
  widthOf.pen ??= document.createElement("canvas").getContext("2d");
  widthOf.pen.font = `600 12.5px ${getComputedStyle(document.body).fontFamily}`;
  return widthOf.pen.measureText(text).width;
}

function lastOf(lines) {
  for (const line of [...lines].reverse()) for (let i = line.length - 1; i >= 0; i--) if (Number.isFinite(line[i][1])) return line[i][1];
  return 0;
}

/** A function sampled for drawing: [[lines of f], [lines of f']], interrupted where it jumps, with its marks. */
function sampled(f, [x0, x1], kinks, count = 700) {
  const places = [];
  for (let i = 0; i <= count; i++) places.push(x0 + ((x1 - x0) * i) / count);
  const inside = kinks.filter((k) => k.place > x0 && k.place < x1);
  for (const k of inside) {
    const d = 1e-9 * Math.max(1, Math.abs(k.place));
    places.push(k.place - d, k.place, k.place + d);
  }
  places.sort((a, b) => a - b);
  const values = places.map((p) => f(p));
  return [0, 1].map((order) => {
    const breaks = new Set(inside.filter((k) => order || k.jump).map((k) => k.place));
    const lines = [[]];
    places.forEach((p, i) => {
      const y = values[i][order];
      if (breaks.has(p) || !Number.isFinite(y)) lines.push([]);
      else lines.at(-1).push([p, y]);
    });
    const marks = inside.flatMap((k) => {
      if (!order && !k.jump) return [{ x: k.place, y: k.value }];
      const sides = order ? [k.left, k.right] : [k.leftValue, k.rightValue], there = order ? k.used : k.value;
      const places = [...new Set([...sides, there])].filter(Number.isFinite);
      return places.map((y) => ({ x: k.place, y, open: Math.abs(y - there) > 1e-9 }));
    });
    return { lines: lines.filter((l) => l.length > 1), marks };
  });
}
