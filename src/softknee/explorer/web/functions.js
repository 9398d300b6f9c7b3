// The view of functions: choose, overlay, read off, turn parameters, take apart.

const $ = (id) => document.getElementById(id);
const RECORDS = new Map(DATA.records.map((r) => [r.name, r]));
const OWN = "=";
const COLOURS = 7, DASHES = ["", "dashed", "dotted"], MOST = 21;
const FIRST_FORMULA = "x * sigmoid(beta * x)";

const state = {
  tab: "functions",
  language: null, // null: the browser's
  embedded: false, // in another page: the picture and the sliders alone
  curves: [], // {name, values: {parameter: number}, choices: {}} or {name: "=", text, values}
  current: 0,
  view: "values",
  range: null, // null: chosen by the curves
  at: null, // where the cross stands
  depth: { function: 0, width: 128, depth: 20, gain: null, bias: 0, seed: 1, layer: 9 },
};

// The reader's language; what is not translated is shown in English.
const TONGUE = (() => {
  const asked = /[#&]lang=(\w+)/.exec(location.hash)?.[1], usual = navigator.language.slice(0, 2);
  return [asked, usual].find((l) => l === "en" || Object.hasOwn(DATA.translations, l ?? "")) ?? "en";
})();
const WORDS = DATA.translations[TONGUE] ?? { labels: {}, families: {}, names: {}, use: {}, notes: {}, parameters: {} };
const t = (text) => own(WORDS.labels, text) ?? text;
/** A fact in the reader's language, phrase by phrase, the longest first; numbers and formulas stay. */
const phrased = (() => {
  const known = Object.keys(WORDS.phrases ?? {}).sort((a, b) => b.length - a.length);
  if (!known.length) return (text) => text;
  const escaped = known.map((p) => p.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<!\\p{L})(?:${escaped.join("|")})(?!\\p{L})`, "gu");
  return (text) => text.replace(pattern, (phrase) => WORDS.phrases[phrase]);
})();
const familyOf = (name) => own(WORDS.families, name) ?? name;
const nameOf = (record) => own(WORDS.names, record.name) ?? "";
const useOf = (record) => own(WORDS.use, record.name) ?? record.use;
const noteOf = (record) => own(WORDS.notes, record.name) ?? record.note;
const aboutOf = (parameter) => own(WORDS.parameters, parameter.doc) ?? parameter.doc;

const numberOf = (value) => (value === "inf" ? Infinity : value);

/** A curve of the state as something that can be drawn. An error leaves the others alone. */
function resolved(curve, index) {
  const key = JSON.stringify([curve.name, curve.text, curve.choices, Object.entries(curve.values).map(([k, v]) => [k, String(v)])]);
  let made = resolved.kept.get(key);
  if (!made) {
    try {
      made = curve.name === OWN ? ownFunction(curve) : catalogued(curve);
      made.kinks = kinksOf(made.f, -12, 12);
      made.bend = (x) => [made.f(x)[1], made.second(x)]; // as f has them: a value and its slope
    } catch (error) {
      if (!(error instanceof FormulaError)) throw error;
      made = { error, label: t("own formula") };
    }
    if (resolved.kept.size > 400) resolved.kept.clear();
    resolved.kept.set(key, made);
  }
  return { ...made, curve, index, colour: `var(--curve-${index % COLOURS})`, dash: DASHES[Math.floor(index / COLOURS) % 3] };
}
resolved.kept = new Map();

function catalogued(curve) {
  const record = RECORDS.get(curve.name), choices = Object.keys(record.choices);
  const wanted = choices.map((c) => curve.choices[c] ?? record.choices[c][0]);
  const variant = record.variants.findIndex((v) => v.choices.every((c, i) => String(c) === String(wanted[i])));
  const values = record.parameters.map((p) => curve.values[p.name] ?? numberOf(p.default));
  const changed = record.parameters.filter((p, i) => values[i] !== numberOf(p.default)).map((p) => [p.name, curve.values[p.name]]);
  const said = [...choices.filter((c, i) => wanted[i] !== record.choices[c][0]).map((c) => `${c}=${spelled(curve.choices[c])}`), ...changed.map(([n, v]) => `${n}=${digits(v, 4)}`)];
  const label = said.length ? `${record.name}(${said.join(", ")})` : record.name;
  if (variant < 0) throw new FormulaError(`${record.name} has no formula for ${said.join(", ")}`, 0);
  const { v, w, u, c } = FUNCTIONS[record.name];
  if (!c[variant](...values).every(Boolean)) throw Object.assign(new FormulaError(`${record.name} needs ${record.variants[variant].needs.join(" and ")}`, 0), { label });
  const other = u && { name: record.parameters[0].name, slope: (x) => u[variant](x, ...values)[0] }; // of a gate
  return { f: (x) => v[variant](x, ...values), second: (x) => w[variant](x, ...values)[0], other, label, record, variant: record.variants[variant], values, plain: !said.length };
}

function ownFunction(curve) {
  const tree = parse(curve.text), names = symbolsOf(tree).filter((n) => n !== "x");
  const all = ["x", ...names], values = names.map((n) => curve.values[n] ?? 1);
  const slope = differentiated(tree, "x"), [f, g] = [compiled(tree, all), compiled(slope, all)];
  let bend = null;
  const second = (x) => (bend ??= compiled(differentiated(slope, "x"), all))([x, ...values]);
  const said = values.every((v) => v === 1) ? "" : ` (${names.map((n, i) => `${n}=${digits(values[i], 4)}`).join(", ")})`;
  return { f: (x) => { const v = [x, ...values]; return [f(v), g(v)]; }, second, label: `${shortened(curve.text, Math.max(10, 24 - said.length))}${said}`, tree, slope, names, values, own: true };
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const spelled = (choice) => (choice === true ? "True" : choice === false ? "False" : choice);
/** The curves, each with a label of its own: those that would share one are numbered. */
function curves() {
  const met = new Map();
  return state.curves.map((curve, i) => {
    const found = resolved(curve, i), before = met.get(found.label) ?? 0;
    met.set(found.label, before + 1);
    return before ? { ...found, label: `${found.label} #${before + 1}` } : found;
  });
}

function rangeOf(found) {
  if (state.range) return state.range;
  let [low, high] = [-4, 4];
  for (const c of found) for (const k of c.kinks ?? []) [low, high] = [Math.min(low, k.place - 2), Math.max(high, k.place + 2)];
  return [Math.max(-12, low), Math.min(12, high)];
}

// The catalogue

function buildList() {
  const wanted = new Set();
  const words = [...new Set(DATA.records.flatMap((r) => r.traits))];
  const order = ["smooth", "monotone", "bounded", "zero-centred", "odd or even", "exact zeros", "never saturates", "keeps the gradient", "learnable", "in torch.nn"];
  words.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  $("traits").append(...words.map((word) => make("button", { type: "button", "aria-pressed": "false", onclick: (e) => {
    wanted.has(word) ? wanted.delete(word) : wanted.add(word);
    e.currentTarget.setAttribute("aria-pressed", String(wanted.has(word)));
    filter();
  } }, t(word))));
  const family = make("select", { id: "family", "aria-label": t("Family"), onchange: () => filter() }, make("option", { value: "" }, t("All families")),
    ...DATA.families.map(([name]) => make("option", { value: name }, familyOf(name))));
  $("traits").before(family);
  const rows = [], groups = [];
  for (const [name, about] of DATA.families) {
    const members = DATA.records.filter((r) => r.family === name).map((record) => {
      const box = make("input", { type: "checkbox", "data-name": record.name, onchange: (e) => toggle(record.name, e.currentTarget.checked) });
      const row = make("label", { title: useOf(record) }, box, make("span", {}, record.name), spark(record));
      const text = [record.name, ...record.aliases, record.use, useOf(record), nameOf(record), record.note, noteOf(record), record.family, familyOf(record.family), record.source?.text, record.source?.title].join(" ").toLowerCase();
      const entry = { record, row, text };
      rows.push(entry);
      return entry;
    });
    const group = make("fieldset", {}, make("legend", { title: about }, familyOf(name)), members.map((m) => m.row));
    groups.push({ group, members });
  }
  $("list").append(...groups.map((g) => g.group));
  const filter = () => {
    const asked = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { record, row, text } of rows) {
      const squeezed = text.replace(/[_-]/g, "");
      row.hidden = !(asked.every((w) => text.includes(w) || squeezed.includes(w.replace(/[_-]/g, ""))) && [...wanted].every((w) => record.traits.includes(w)) && (!family.value || record.family === family.value));
      count += !row.hidden;
    }
    // what is called so comes before what mentions it
    const far = ({ record, row }) => (row.hidden ? 3 : !asked.length ? 2 : Math.min(...[record.name, ...record.aliases].map((n) => (n === asked[0] ? 0 : n.startsWith(asked[0]) ? 1 : 2))));
    const nearest = (g) => Math.min(...g.members.map(far));
    for (const { group, members } of groups) {
      group.hidden = members.every((m) => m.row.hidden);
      group.append(...[...members].sort((a, b) => far(a) - far(b)).map((m) => m.row));
    }
    $("list").append(...[...groups].sort((a, b) => nearest(a) - nearest(b)).map((g) => g.group));
    $("count").textContent = count === rows.length ? `${count} ${t("functions")}` : count ? `${count} / ${rows.length} ${t("functions")}` : t("Nothing is like that: use fewer words or filters");
  };
  $("search").addEventListener("input", filter);
  filter();
}

/** A thumbnail. */
function spark(record) {
  const { f } = catalogued({ name: record.name, values: {}, choices: {} });
  const points = Array.from({ length: 41 }, (_, i) => [(i - 20) / 5, f((i - 20) / 5)[0]]).filter((p) => Number.isFinite(p[1]));
  const heights = points.map((p) => Math.max(-4, Math.min(4, p[1]))), low = Math.min(0, ...heights), high = Math.max(0, ...heights), span = high - low || 1;
  const d = points.map(([x], i) => `${i ? "L" : "M"}${(2 + ((x + 4) / 8) * 40).toFixed(1)} ${(18 - ((heights[i] - low) / span) * 16).toFixed(1)}`).join("");
  return make("svg", { viewBox: "0 0 44 20", width: 44, height: 20, "aria-hidden": "true" }, make("path", { d }));
}

function toggle(name, on) {
  if (on && state.curves.length >= MOST) {
    say(`${t("At most at a time:")} ${MOST}`);
    return changed();
  }
  if (on) state.curves.push({ name, values: {}, choices: {} });
  else state.curves = state.curves.filter((c) => c.name !== name);
  state.current = on ? state.curves.length - 1 : Math.max(0, Math.min(state.current, state.curves.length - 1));
  changed();
}

// The picture

let drawn = []; // the charts, for the cross
const PRIMED = ["f(x)", "f′(x)", "f″(x)"];
const orders = () => (state.view === "second" ? [1, 2] : [0, 1]);

function renderChips(found) {
  $("chips").replaceChildren(...found.map((c) => make("li", { class: c.index === state.current ? "current" : null },
    make("button", { class: "name", "aria-pressed": String(c.index === state.current), title: t("Show its formula and facts"), onclick: () => { state.current = c.index; changed(); } },
      make("i", { style: `background:${c.colour}` }), c.label),
    make("button", { class: "drop", "aria-label": `${t("Remove")} ${c.label}`, onclick: () => {
      state.curves.splice(c.index, 1);
      state.current = Math.max(0, Math.min(state.current, state.curves.length - 1));
      changed();
      ($("chips").querySelector("button") ?? $("write")).focus();
    } }, "×"))));
  $("chosen-count").textContent = found.length ? `· ${found.length}` : "";
  const chosen = new Set(state.curves.map((c) => c.name));
  for (const box of $("list").querySelectorAll("input")) box.checked = chosen.has(box.dataset.name);
}

function shownOf(found) {
  const good = found.filter((c) => !c.error);
  if (state.view !== "difference" || good.length < 2) return good;
  const first = good[0];
  return good.slice(1).map((c) => ({ ...c, name: c.label, label: `${c.label} − ${first.label}`, f: (x) => { const [a, b] = [c.f(x), first.f(x)]; return [a[0] - b[0], a[1] - b[1]]; }, second: (x) => c.second(x) - first.second(x), kinks: mergedKinks(c, first) }));
}

function mergedKinks(a, b) {
  const f = (x) => { const [p, q] = [a.f(x), b.f(x)]; return [p[0] - q[0], p[1] - q[1]]; };
  const places = [...new Set([...a.kinks, ...b.kinks].map((k) => k.place))];
  return places.map((p) => kinkAt(f, p)).filter((k) => k.jump || Math.abs(k.left - k.right) > 1e-7);
}

function renderPictures(found) {
  const range = rangeOf(found), shown = shownOf(found), difference = state.view === "difference" && found.length > 1;
  for (const [id, v] of [["from", range[0]], ["to", range[1]]]) if (document.activeElement !== $(id)) $(id).value = Number(v.toPrecision(6));
  const bent = (c) => sampled(c.bend, range, [...kinksOf(c.bend, ...range), ...c.kinks.filter((k) => !k.jump).map((k) => ({ place: k.place, jump: true }))])[1];
  const data = shown.map((c) => (state.view === "second" ? [null, sampled(c.f, range, c.kinks)[1], bent(c)] : sampled(c.f, range, c.kinks)));
  drawn = orders().map((order, at) => {
    const series = shown.map((c, i) => ({ colour: c.colour, dash: c.dash, label: c.name ?? c.label, ...data[i][order] }));
    if (order === 1 && state.view === "values")
      for (const c of shown.filter((c) => c.other)) series.push({ colour: c.colour, dash: "dotted", label: `${byOther(c)} ${c.label}`, ...sampled((x) => [c.other.slope(x), 0], range, [])[0] });
    const y = heightsOf(series.flatMap((s) => s.lines), range);
    const yName = difference ? `${PRIMED[order]}, ${t("difference to the first")}` : PRIMED[order];
    const label = `${t(["Values", "Derivatives", "Second derivatives"][order])}: ${shown.map((c) => c.label).join(", ") || "–"}; x = ${range[0]} … ${range[1]}`;
    return chart($(`picture-${at}`), { series, x: range, y, xName: "x", yName, label, labels: series.length > 1 });
  });
  renderCross(found);
}

const byOther = (c) => `∂/∂${c.other.name}`;

/** Rows of a table of values: [name, values]. On a phone a name stands above its values where there is no room beside. */
function valueRows(rows) {
  const above = innerWidth < 480 && rows.some(([name, values]) => values.length > 3 || values.join("").length + name.at(-1).length > 32);
  return rows.flatMap(([name, values]) => {
    const head = make("th", { scope: "row", colspan: above ? values.length + 1 : null }, name), cells = values.map((v) => make("td", {}, v));
    return above ? [make("tr", { class: "above" }, head), make("tr", {}, make("td"), cells)] : [make("tr", {}, head, cells)];
  });
}

function renderCross(found) {
  const range = rangeOf(found), shown = shownOf(found), at = state.at ?? 1, gates = state.view === "difference" ? [] : shown.filter((s) => s.other);
  const x = Math.max(range[0], Math.min(range[1], at));
  drawn.forEach((c, i) => {
    const order = orders()[i];
    c.cross?.remove();
    c.cross = make("g", { class: "crossing" }, make("line", { x1: c.px(x), x2: c.px(x), y1: c.top, y2: c.bottom, class: "cross" }),
      shown.map((s) => { const y = order === 2 ? s.second(x) : s.f(x)[order]; return Number.isFinite(y) && c.py(y) >= c.top - 4 && c.py(y) <= c.bottom + 4 ? make("circle", { cx: c.px(x), cy: c.py(y), r: 4.5, style: `fill:${s.colour};stroke:var(--paper)`, class: "mark" }) : null; }));
    if (order === 1 && state.view === "values") c.cross.append(...gates.map((s) => make("circle", { cx: c.px(x), cy: c.py(s.other.slope(x)), r: 4.5, style: `fill:${s.colour};stroke:var(--paper)`, class: "mark" })));
    c.root.append(c.cross);
  });
  const columns = [...PRIMED, ...(gates.length ? [[...new Set(gates.map(byOther))].join(", ")] : [])], count = innerWidth < 480 ? 4 : 7;
  const place = digits(x, 4), rows = shown.map((s) => [s, s.f(x)]);
  $("readout").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, `x = ${place}`), columns.map((name, i) => make("th", { scope: "col" }, i === PRIMED.length ? make("i", { class: "dots" }) : null, name))));
  $("readout").tBodies[0].replaceChildren(...valueRows(rows.map(([s, [v, d]]) => [[make("i", { style: `background:${s.colour}` }), s.label], [v, d, s.second(x)].map((n) => digits(n, count)).concat(gates.length ? [s.other ? digits(s.other.slope(x), count) : ""] : [])])));
  const slider = $("pictures");
  slider.setAttribute("aria-valuemin", range[0]);
  slider.setAttribute("aria-valuemax", range[1]);
  slider.setAttribute("aria-valuenow", x);
  slider.setAttribute("aria-valuetext", `x = ${place}: ${rows.map(([s, [v, d]]) => `${s.label} ${digits(v)}, ${t("slope")} ${digits(d)}${gates.includes(s) ? `, ${byOther(s)} ${digits(s.other.slope(x))}` : ""}`).join("; ")}`);
}

function listenToPictures() {
  scrolling($("readout").parentElement);
  const pictures = $("pictures");
  const point = (e) => {
    const picture = e.target.closest?.("#picture-0, #picture-1");
    if (!picture || !drawn.length) return;
    const c = drawn[picture.id === "picture-0" ? 0 : 1], box = c.root.getBoundingClientRect(), scale = c.root.viewBox.baseVal.width / box.width;
    const range = rangeOf(curves()), x = c.fromPx((e.clientX - box.left) * scale), step = (range[1] - range[0]) / 800;
    state.at = Math.max(range[0], Math.min(range[1], Number((Math.round(x / step) * step).toPrecision(4))));
    renderCross(curves());
    remember();
  };
  pictures.addEventListener("pointermove", point);
  pictures.addEventListener("pointerdown", point);
  pictures.addEventListener("keydown", (e) => {
    const range = rangeOf(curves()), step = ((range[1] - range[0]) / 100) * (e.shiftKey ? 10 : 1);
    const move = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -10 * step, PageUp: 10 * step }[e.key];
    if (move) state.at = Number(((state.at ?? 1) + move).toPrecision(6));
    else if (e.key === "Home") [state.at] = range;
    else if (e.key === "End") [, state.at] = range;
    else return;
    state.at = Math.max(range[0], Math.min(range[1], Math.abs(state.at) < step / 1e6 ? 0 : state.at));
    e.preventDefault();
    renderCross(curves());
    remember();
  });
  const limits = () => {
    const [a, b] = [Number($("from").value), Number($("to").value)];
    const good = $("from").value !== "" && $("to").value !== "" && a < b && Math.abs(a) <= 1e6 && Math.abs(b) <= 1e6;
    for (const id of ["from", "to"]) $(id).setAttribute("aria-invalid", String(!good));
    if (!good) return say(t("The range must rise, from −1000000 to 1000000 at most"));
    state.range = [a, b];
    changed(false);
  };
  $("from").addEventListener("change", limits);
  $("to").addEventListener("change", limits);
  const zoom = (factor) => {
    const [a, b] = rangeOf(curves()), middle = (a + b) / 2, half = Math.min(5e5, Math.max(1e-3, ((b - a) / 2) * factor));
    state.range = [Number((middle - half).toPrecision(6)), Number((middle + half).toPrecision(6))];
    changed(false);
  };
  $("closer").addEventListener("click", () => zoom(0.5));
  $("farther").addEventListener("click", () => zoom(2));
  for (const radio of document.getElementsByName("view")) radio.addEventListener("change", () => { state.view = radio.value; changed(false); });
  $("write").addEventListener("click", () => {
    state.curves.push({ name: OWN, text: FIRST_FORMULA, values: {}, choices: {} });
    state.current = state.curves.length - 1;
    changed();
    const field = $("own-formula");
    field.focus();
    field.select();
  });
}

// One function

let refresh = () => {}; // what a change of a parameter changes in the details

function renderDetails(found) {
  const c = found[state.current];
  refresh = () => {};
  if (!c) return $("details").replaceChildren(make("p", { class: "empty" }, t("Choose a function, or write your own formula.")));
  $("details").replaceChildren(c.curve.name === OWN ? ownDetails(c) : cataloguedDetails(c, RECORDS.get(c.curve.name)));
  refresh(found);
}

function cataloguedDetails(c, record) {
  const curve = c.curve, formula = scrolling(make("div", { class: "formula" })), slope = scrolling(make("div", { class: "formula" }));
  const facts = make("div"), codes = make("div"), error = make("p", { class: "error", role: "alert" }), comparison = make("div", { class: "wide" });
  const choose = Object.entries(record.choices).map(([name, values]) => make("div", { class: "choice" }, make("label", { for: `choice-${name}` }, name),
    make("select", { id: `choice-${name}`, onchange: (e) => { curve.choices[name] = values[e.currentTarget.selectedIndex]; repair(curve, record, name); changed(); } },
      values.map((v) => make("option", { selected: (curve.choices[name] ?? values[0]) === v }, String(spelled(v)))))));
  const sliders = record.parameters.map((p) => slider(p.name, { ...p, doc: aboutOf(p), value: curve.values[p.name] ?? numberOf(p.default) }, (value) => { curve.values[p.name] = value; changed(false); }, (value) => allows(curve, p.name, value)));
  refresh = (found) => {
    const now = found[state.current];
    error.textContent = now.error?.message ?? "";
    drawComparison(comparison, found);
    if (now.error) return;
    formula.replaceChildren(maths(now.variant.formula));
    slope.replaceChildren(...[now.variant.derivative].flat().map((d) => make("div", {}, maths(d)))); // of a gate, two
    codes.replaceChildren(...codeFor(now, record));
    facts.replaceChildren(...factsFor(now, record));
  };
  return make("div", { class: "details" },
    make("div", { class: "wide" }, make("h2", {}, record.name), make("p", { class: "family" }, [nameOf(record), familyOf(record.family), record.aliases.length ? `${t("also")} ${record.aliases.join(", ")}` : "", record.training ? t("random in training") : ""].filter(Boolean).join(" · "))),
    make("div", {},
      formula, slope, make("p", {}, useOf(record)), record.note ? make("p", { class: "note" }, noteOf(record)) : null, record.remarks.map((r) => make("p", { class: "remark" }, phrased(r))),
      choose.length || sliders.length ? make("h3", {}, t("Parameters")) : null, choose, make("div", { class: "sliders" }, sliders), error,
      make("div", { class: "row" },
        sliders.length || choose.length ? make("button", { onclick: () => { curve.values = {}; curve.choices = {}; changed(); } }, t("Defaults")) : null,
        sliders.length ? make("button", { onclick: () => again(curve) }, t("One more, to compare")) : null,
        record.variants.length > 1 ? make("button", { onclick: () => compareVariants(record) }, t("Compare its forms")) : null),
      make("h3", {}, t("Code")), codes,
      record.source ? [make("h3", {}, t("Source")), make("p", { class: "source" }, `${record.source.text}: `, record.source.address ? make("a", { href: record.source.address, rel: "noreferrer" }, record.source.title) : record.source.title, record.source.where)] : null,
      DATA.site === null || record.inputs.length > 1 ? null : make("p", {}, make("a", { href: `${DATA.site}activations/${record.name}/`, target: "_top" }, t("Its page in the documentation")))),
    facts, comparison, claimsOf(record));
}

/** What is claimed of it and was measured; a link where the documentation stands beside this page. */
function claimsOf(record) {
  const rows = DATA.claims.filter(([, , , about]) => about.includes(record.name));
  if (!rows.length) return null;
  return make("div", { class: "wide" }, make("h3", {}, t("Claims, tested")), make("ul", { class: "claims" }, rows.map(([name, claim, verdict]) => make("li", {},
    DATA.site === null ? make("span", { title: `softknee claims show ${name}` }, claim) : make("a", { href: `${DATA.site}claims/${name}/`, target: "_top" }, claim), " ", make("strong", {}, t(verdict), verdict === "holds only if" ? " …" : "")))));
}

/** Another choice that goes with the one just made, where not all combinations exist. */
function repair(curve, record, kept) {
  const names = Object.keys(record.choices), now = (n) => curve.choices[n] ?? record.choices[n][0];
  const fits = (v) => names.every((n, i) => String(v.choices[i]) === String(now(n)));
  if (record.variants.some(fits)) return;
  const other = record.variants.find((v) => String(v.choices[names.indexOf(kept)]) === String(now(kept)));
  if (other) names.forEach((n, i) => { curve.choices[n] = other.choices[i]; });
}

/** The value nearest to the wanted one that is allowed, on the way back to what it was before. */
function nearest(wanted, before, step, allowed) {
  const rounded = (v) => Number(v.toPrecision(4)), back = Math.sign(before - wanted) * step;
  for (let k = 0; Math.abs(k * back) < Math.abs(before - wanted) && back; k++) if (allowed(rounded(wanted + k * back))) return rounded(wanted + k * back);
  return allowed(before) ? before : wanted;
}

/** Whether a catalogued function is defined when one parameter has this value and the others theirs. */
function allows(curve, name, value) {
  try {
    return Boolean(catalogued({ ...curve, values: { ...curve.values, [name]: value } }));
  } catch (error) {
    if (error instanceof FormulaError) return false;
    throw error;
  }
}

function slider(name, { symbol, low, high, value, doc, learnable, required }, tell, allowed = () => true) {
  const endless = value === Infinity || (low === -4 && high === 8 && required === false && doc !== undefined && numberOf(arguments[1].default) === Infinity);
  const shown = (v) => (v === Infinity ? "" : String(Number(v.toPrecision(6))));
  const spread = Math.max(1e-9, high - low), id = `parameter-${name}`;
  const place = make("input", { type: "range", id, min: low, max: high, step: spread / 400, value: value === Infinity ? high : value, "aria-label": name });
  const exact = make("input", { type: "number", step: "any", value: shown(value), "aria-label": `${name}, ${t("exactly")}`, placeholder: endless ? "∞" : null });
  const spoken = (v) => place.setAttribute("aria-valuetext", shown(v) || "∞"); // the handle stands on a grid, the value need not
  let before = value;
  spoken(value);
  const set = (v, from) => {
    before = v;
    spoken(v);
    if (from !== place) place.value = v === Infinity ? high : v;
    if (from !== exact) exact.value = shown(v);
    tell(v);
  };
  place.addEventListener("input", () => {
    const v = Number(place.value), wanted = endless && v >= high ? Infinity : Number(v.toPrecision(4));
    const given = Number.isFinite(wanted) ? nearest(wanted, Number.isFinite(before) ? before : high, spread / 400, allowed) : wanted;
    set(given, given === wanted ? place : null); // where it may not go, the handle stays behind
  });
  exact.addEventListener("input", () => {
    if (exact.value === "" && endless) set(Infinity, exact);
    else if (exact.value !== "" && Number.isFinite(Number(exact.value))) set(Number(exact.value), exact);
  });
  const words = [doc, learnable ? t("learnable") : ""].filter(Boolean).join("; ");
  return make("div", { class: "slider" }, make("label", { for: id, title: doc }, name), place, exact, words ? make("p", {}, symbol ? [maths(symbol), ": "] : null, words) : null);
}

function again(curve) {
  if (state.curves.length >= MOST) return say(`${t("At most at a time:")} ${MOST}`);
  state.curves.push({ ...curve, values: { ...curve.values }, choices: { ...curve.choices } });
  state.current = state.curves.length - 1;
  changed();
  say(t("A copy was added: turn its parameters"));
}

function compareVariants(record) {
  const names = Object.keys(record.choices);
  state.curves = record.variants.map((v) => ({ name: record.name, values: {}, choices: Object.fromEntries(names.map((n, i) => [n, v.choices[i]]).filter(([n, c]) => c !== record.choices[n][0])) }));
  [state.current, state.view] = [0, "difference"];
  changed();
}

/** How far each curve is from the first: largest and typical distance. */
function drawComparison(host, found) {
  const good = found.filter((c) => !c.error);
  if (state.view !== "difference" || good.length < 2) return host.replaceChildren();
  const range = rangeOf(found), first = good[0], rule = normalRule([...good.flatMap((c) => c.kinks.map((k) => k.place))]);
  const rows = good.slice(1).map((c) => {
    const worst = [[0, 0], [0, 0]];
    for (let i = 0; i <= 4000; i++) {
      const x = range[0] + ((range[1] - range[0]) * i) / 4000, [a, b] = [c.f(x), first.f(x)];
      [0, 1].forEach((k) => { if (Math.abs(a[k] - b[k]) > worst[k][0]) worst[k] = [Math.abs(a[k] - b[k]), x]; });
    }
    let square = 0;
    rule.points.forEach((z, i) => { square += rule.weights[i] * (c.f(z)[0] - first.f(z)[0]) ** 2; });
    return [[c.label], [...worst.map(([far, x]) => `${digits(far, 3)}, x\u00a0=\u00a0${digits(x, 3)}`), digits(Math.sqrt(square), 3)]];
  });
  host.replaceChildren(make("h3", {}, `${t("Distance to")} ${first.label}`), scrolling(make("div", { class: "scroll" }, make("table", { class: "readout distance" },
    make("thead", {}, make("tr", {}, make("td"), [t("largest |f − first|"), t("largest |f′ − first′|"), t("root mean square, z ~ N(0, 1)")].map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, valueRows(rows))))));
}

function factTable(title, rows, given = "") {
  return [make("h3", {}, t(title), given ? ` (${given})` : ""), make("table", { class: "facts", "aria-label": t(title) }, make("tbody", {}, rows.map(([a, b]) => make("tr", {}, make("th", { scope: "row" }, own(WORDS.labels, a) ?? phrased(a)), make("td", {}, phrased(b))))))];
}

function factsFor(now, record) {
  if (record?.facts.length && now.plain) {
    const required = record.parameters.filter((p) => p.required).map((p) => `${p.name} = ${digits(numberOf(p.default))}`).join(", ");
    return [...factTable("Facts", record.facts, required), ...factTable("For a standard normal input z", record.normal), make("p", { class: "hint" }, phrased(`By softknee: ${record.precision}.`))];
  }
  const k = factsOf(now.f); // of other values, of a gate, of a formula of one's own
  return [...factTable("Facts", factRows(k)), ...factTable("For a standard normal input z", normalFactRows(k)), make("p", { class: "hint" }, t("For these values: found by sampling in this page, without proof."))];
}

function codeBlock(text, name) {
  const button = make("button", { "aria-label": `${t("Copy")}: ${name}`, onclick: () => copy(text, button) }, t("Copy"));
  return make("div", { class: "code" }, make("pre", { tabindex: "0", role: "group", "aria-label": name }, text), button);
}

function codeFor(now, record) {
  const call_ = record.call || "x", given = [...Object.entries(now.curve.choices).filter(([n, v]) => v !== record.choices[n][0]).map(([n, v]) => `${n}=${typeof v === "string" ? `"${v}"` : spelled(v)}`),
    ...record.parameters.filter((p) => !record.inputs.includes(p.name)).filter((p) => p.required || (now.curve.values[p.name] ?? numberOf(p.default)) !== numberOf(p.default)).map((p) => `${p.name}=${pythonNumber(now.curve.values[p.name] ?? numberOf(p.default))}`)];
  const call = [call_, ...given].join(", ");
  const blocks = [codeBlock(`from softknee import functional as F\n\ny = F.${record.name}(${call})`, "softknee")];
  if (record.torch && !Object.keys(now.curve.choices).length && now.plain) blocks.push(codeBlock(`import torch\n\ny = torch.nn.functional.${record.torch.function}(${call})`, "torch"));
  const names = record.parameters.filter((p) => !record.inputs.includes(p.name) && new RegExp(`\\b${p.name}\\b`).test(now.variant.code));
  const maths_ = /\bmath\./.test(now.variant.code) ? "import math\n" : "", torch_ = /\btorch\./.test(now.variant.code) ? "import torch\n" : "";
  const defaults = names.map((p) => `, ${p.name}=${pythonNumber(now.curve.values[p.name] ?? numberOf(p.default))}`).join("");
  blocks.push(codeBlock(`# the formula in plain torch\n${maths_}${torch_}${maths_ || torch_ ? "\n" : ""}def ${record.name}(${record.inputs.join(", ")}${defaults}):\n    return ${now.variant.code}`, t("the formula in plain torch")));
  return blocks;
}

const pythonNumber = (v) => (v === Infinity ? 'float("inf")' : v === -Infinity ? 'float("-inf")' : String(v));

// One's own

function ownDetails(c) {
  const curve = c.curve, error = make("p", { class: "error", role: "alert", id: "own-error" });
  const field = make("input", { id: "own-formula", value: curve.text, maxlength: LONGEST, spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": "own-error own-help" });
  const formula = scrolling(make("div", { class: "formula" })), slope = scrolling(make("div", { class: "formula" })), sliders = make("div", { class: "sliders" }), facts = make("div"), codes = make("div"), comparison = make("div", { class: "wide" });
  let shownNames = null;
  field.addEventListener("input", () => { curve.text = field.value; changed(false); });
  refresh = (found) => {
    const now = found[state.current];
    field.setAttribute("aria-invalid", String(Boolean(now.error)));
    field.closest(".own")?.toggleAttribute("data-stale", Boolean(now.error));
    error.textContent = now.error ? `${now.error.message}\n${field.value.slice(Math.max(0, now.error.at - 12), now.error.at)}▸${field.value.slice(now.error.at, now.error.at + 14)}` : "";
    drawComparison(comparison, found);
    if (now.error) return;
    formula.replaceChildren(maths(`<mrow><mi>f</mi><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo><mo>=</mo>${toMathML(now.tree)}</mrow>`, true));
    const set = toMathML(now.slope);
    slope.replaceChildren(set ? maths(`<mrow><mi>f</mi><mo lspace="0" rspace="0">′</mo><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo><mo>=</mo>${set}</mrow>`, true) : make("p", { class: "hint" }, t("The derivative is too long to print; it is drawn above.")));
    if (String(now.names) !== shownNames) {
      shownNames = String(now.names);
      sliders.replaceChildren(...now.names.map((n, i) => slider(n, { low: -3, high: 5, value: now.values[i] }, (v) => { curve.values[n] = v; changed(false); })));
    }
    codes.replaceChildren(codeBlock(definition(now), t("the Python line that defines it")));
    facts.replaceChildren(...factsFor(now, null));
  };
  return make("div", { class: "details own" },
    make("div", { class: "wide" }, make("h2", {}, make("label", { for: "own-formula" }, t("Your own formula"))), make("div", { class: "row" }, field), error,
      make("p", { class: "hint", id: "own-help" }, t("x is the input, every other name a parameter."), " + − * / ** ( ), < <= > >= & | ~, ", CALLABLE.concat(Object.keys(LANGUAGE.shorthands)).sort().join(", "), ", pi.")),
    make("div", {}, formula, slope, sliders, make("h3", {}, t("In Python")), codes), facts, comparison);
}

/** Python that defines it in softknee. */
function definition(now) {
  const used = [...importsOf(now.tree)].sort(), names = now.names;
  const imports = used.length ? `from softknee.lang import ${used.join(", ")}\n` : "";
  const defaults = names.map((n, i) => `, ${n}=${pythonNumber(now.values[i])}`).join("");
  return `import softknee as sk\n${imports}\nmine = sk.define("mine", lambda ${["x", ...names].join(", ")}: ${toPython(now.tree)}${defaults})`;
}
