// The view of depth: what many layers make of a signal and of its gradient.

function buildLaboratory() {
  const s = state.depth, host = $("depth");
  const which = make("select", { id: "lab-function", onchange: () => { s.function = which.selectedIndex; s.gain = null; changed(); } });
  const verdict = make("p", { class: "verdict", role: "status" });
  const panels = Object.fromEntries(["q", "mean", "variance", "gradient", "before", "after"].map((n) => [n, make("div")]));
  const fields = {};
  const control = (name, label, low, high, step, note) => {
    const place = make("input", { type: "range", id: `lab-${name}`, min: low, max: high, step });
    const exact = make("input", { type: "number", min: low, max: high, step: name === "gain" || name === "bias" ? "any" : step, "aria-label": `${t(label)}, ${t("exactly")}` });
    const set = (v) => {
      if (!Number.isFinite(v)) return;
      s[name] = Math.min(high, Math.max(low, step >= 1 ? Math.round(v) : v));
      changed(false);
    };
    place.addEventListener("input", () => set(Number(place.value)));
    exact.addEventListener("change", () => set(Number(exact.value)));
    fields[name] = { place, exact, set };
    return make("div", { class: "slider" }, make("label", { for: `lab-${name}` }, t(label)), place, exact, note ? make("p", {}, t(note)) : null);
  };
  const preset = (label, value) => make("button", { onclick: () => { s.gain = value(); changed(false); } }, t(label));
  let own = 1;
  host.append(make("div", { class: "laboratory" },
    make("div", { class: "card" }, make("h2", {}, t("A deep network")), make("p", {}, t("L layers of n units with random weights, drawn from N(0, gain²/n); standard normal input. The lines are mean-field theory (n → ∞), the points are measured on a network that this page draws and runs.")),
      make("h3", { class: "unseen" }, t("Settings")), make("div", { class: "slider", style: "grid-template-columns: 5.5rem minmax(0, 1fr)" }, make("label", { for: "lab-function" }, t("function")), which),
      control("depth", "depth", 1, 50, 1), control("width", "width", 8, 256, 8), control("gain", "gain", 0.1, 3, 0.005),
      make("div", { class: "row" }, preset("its own gain", () => own), preset("He: √2", () => Math.SQRT2), preset("LeCun: 1", () => 1)),
      control("bias", "bias", 0, 1, 0.01, "standard deviation of the biases"),
      make("div", { class: "row" }, make("button", { onclick: () => { s.seed = (s.seed % 9999) + 1; changed(false); } }, t("Draw other weights")))),
    make("div", { class: "stage" },
      make("div", { class: "card" }, verdict, make("p", { class: "legend" }, make("span", {}, make("i", { style: "background:var(--curve-0)" }), t("theory")), make("span", {}, make("i", { class: "point", style: "background:var(--curve-1)" }), t("measured")))),
      make("div", { class: "charts" },
        ...[["mean", "Mean of the outputs", "A mean that is not 0 is the next layer's bias shift."], ["variance", "Variance of the outputs", "Constant: the signal passes. Falling: it dies out. Rising: it explodes."],
          ["gradient", "Squared gradient, relative to the last layer's", "Read from right to left: how much of it arrives below."], ["q", "Second moment before the function", "Its input in each layer, q."]].map(([n, title, about]) => make("div", { class: "card" }, make("h2", {}, t(title)), panels[n], make("p", {}, t(about))))),
      make("div", { class: "card" }, make("h2", {}, t("One layer, measured")), control("layer", "layer", 1, 50, 1),
        make("div", { class: "charts" }, make("div", {}, panels.before, make("p", {}, t("Inputs of the function, with the normal density the theory expects."))), make("div", {}, panels.after, make("p", {}, t("Its outputs. A high first bar: units that are off."))))))));

  return () => {
    const found = curves().filter((c) => !c.error);
    which.replaceChildren(...found.map((c) => make("option", {}, c.label)));
    if (!found.length) {
      verdict.textContent = t("Choose a function first, under Functions.");
      return;
    }
    s.function = Math.min(s.function, found.length - 1);
    which.selectedIndex = s.function;
    const { f, kinks } = found[s.function], one = moments(f, 1, kinks.map((k) => k.place));
    own = one.second > 0 ? Number((1 / Math.sqrt(one.second)).toPrecision(6)) : 1;
    const gain = s.gain ?? Math.min(3, own), layer = Math.min(s.layer, s.depth);
    fields.layer.place.max = fields.layer.exact.max = s.depth;
    for (const [name, value] of Object.entries({ depth: s.depth, width: s.width, gain, bias: s.bias, layer })) {
      fields[name].place.value = value;
      if (document.activeElement !== fields[name].exact) fields[name].exact.value = Number(value.toPrecision(4)) /* as the verdict, and as much as the field shows */;
    }
    const theory = meanField(f, { depth: s.depth, gain, bias: s.bias });
    const { layers, shown } = simulate(f, { width: s.width, depth: s.depth, gain, bias: s.bias, seed: s.seed, layer: layer - 1 });
    const x = [0.5, s.depth + 0.5], steps = Math.max(1, Math.ceil(s.depth / 10)), xTicks = [];
    for (let l = steps === 1 ? 1 : steps; l <= s.depth; l += steps) xTicks.push(l);
    const draw = (name, yName, log) => {
      const value = (v) => (log ? Math.log10(Math.max(1e-300, v)) : v);
      const line = theory.map((t, l) => [l + 1, value(t[name])]).filter(([, v]) => Number.isFinite(v)), dots = layers.map((t, l) => [l + 1, value(t[name])]).filter(([, v]) => Number.isFinite(v));
      const all = [...line, ...dots].map(([, v]) => v).filter((v) => v > -200);
      let [low, high] = [Math.min(...all, log ? -1 : -0.1), Math.max(...all, log ? 1 : 0.1)];
      if (log) [low, high] = [Math.floor(low), Math.ceil(high)];
      const room = log ? 0 : 0.08 * (high - low);
      chart(panels[name], { series: [{ colour: "var(--curve-0)", lines: [line] }, { colour: "var(--curve-1)", dots }], x, y: [low - room, high + room], xName: t("layer"), yName: t(yName), log, height: 210, xTicks, label: `${t(yName)}: ${t("layer")} 1 … ${s.depth}, ${t("theory")} ${digits(theory[0][name], 3)} … ${digits(theory.at(-1)[name], 3)}, ${t("measured")} … ${digits(layers.at(-1)[name], 3)}` });
    };
    draw("mean", "mean", false);
    draw("variance", "variance", true);
    draw("gradient", "gradient²", true);
    draw("q", "q", true);
    histogram(panels.before, shown.before, "input", theory[layer - 1].q, layer);
    histogram(panels.after, shown.after, "output", null, layer);
    const g = theory[0].gradient, v = theory.at(-1).q / theory[0].q;
    const grows = (r) => (!(r > 0) ? t("is lost") : r > 2 ? `${t("grows by the factor")} ${digits(r, 2)}` : r < 1e-4 ? `${t("shrinks by the factor")} 10${raised(Math.round(Math.log10(r)))}` : r < 0.5 ? `${t("shrinks by the factor")} ${digits(r, 2)}` : t("keeps its size"));
    const said = { function: found[s.function].label, gain: digits(gain, 4), depth: s.depth, signal: grows(v), gradient: grows(g) };
    verdict.textContent = t("{function}, gain {gain}: over {depth} layers the signal {signal}, and the squared gradient {gradient} on its way down.").replace(/\{(\w+)\}/g, (_, name) => said[name]);
  };
}

function histogram(host, values, name, q, layer) {
  const sorted = Float64Array.from(values).filter(Number.isFinite).sort(), count = sorted.length;
  if (!count) return host.replaceChildren(make("p", { class: "empty" }, t("nothing finite")));
  const at = (p) => sorted[Math.min(count - 1, Math.floor(p * count))];
  let [low, high] = q > 0 && q < 1e200 ? [-3.5 * Math.sqrt(q), 3.5 * Math.sqrt(q)] : [at(0.001), at(0.999)];
  if (!(high - low > 1e-300)) [low, high] = [low - 0.5, high + 0.5];
  const bins = 48, width = (high - low) / bins, heights = new Float64Array(bins);
  for (const v of sorted) {
    const k = Math.floor((v - low) / width);
    if (k >= 0 && k < bins) heights[k] += 1;
    else if (k === bins) heights[bins - 1] += 1;
  }
  const bars = Array.from(heights, (h, k) => ({ from: low + k * width, to: low + (k + 1) * width, height: h / count }));
  const series = [{ colour: "var(--curve-1)", bars }];
  if (q > 0 && q < 1e200) {
    const density = (x) => (Math.exp((-x * x) / (2 * q)) / Math.sqrt(2 * Math.PI * q)) * width;
    series.push({ colour: "var(--curve-0)", lines: [Array.from({ length: 161 }, (_, i) => low + ((high - low) * i) / 160).map((x) => [x, density(x)])] });
  }
  const top = Math.max(...bars.map((b) => b.height), ...(series[1]?.lines[0].map(([, y]) => y) ?? []));
  chart(host, { series, x: [low, high], y: [0, top * 1.1], xName: t(name), yName: t("share of the units"), height: 200, label: `${t(name)}, ${t("layer")} ${layer}: 1 % ${digits(at(0.01), 3)}, 50 % ${digits(at(0.5), 3)}, 99 % ${digits(at(0.99), 3)}` });
}
