// Numbers about one function, given as x => [f(x), f'(x)]: kinks, facts, expectations, mean field.

const RULE = (() => {
  // Gauss-Legendre nodes and weights on [-1, 1]: Newton's method on the Legendre polynomial
  const n = 16, nodes = [], weights = [];
  for (let i = 0; i < n; i++) {
    let t = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5)), slope = 0;
    for (let k = 0; k < 50; k++) {
      let p = 1, q = 0;
      for (let j = 0; j < n; j++) [p, q] = [((2 * j + 1) * t * p - j * q) / (j + 1), p];
      slope = (n * (t * p - q)) / (t * t - 1);
      t -= p / slope;
    }
    nodes.push(t);
    weights.push(2 / ((1 - t * t) * slope * slope));
  }
  return { nodes, weights };
})();

/** Points and weights for E g(z), z ~ N(0, 1), with panels that end at the breaks. */
function normalRule(breaks) {
  const reach = 12, edges = [];
  for (let i = 0; i <= 48; i++) edges.push(-reach + i / 2);
  edges.push(...breaks.filter((b) => Math.abs(b) < reach));
  edges.sort((a, b) => a - b);
  const points = [], weights = [];
  for (let i = 1; i < edges.length; i++) {
    const half = (edges[i] - edges[i - 1]) / 2, middle = (edges[i] + edges[i - 1]) / 2;
    if (half < 1e-14) continue;
    RULE.nodes.forEach((t, k) => {
      const z = middle + half * t;
      points.push(z);
      weights.push((RULE.weights[k] * half * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI));
    });
  }
  return { points, weights };
}

/** Moments of f(sqrt(q) z): mean, second moment, second moment of the slope, and Q'(q) q / second. */
function moments(f, q, breaks) {
  const scale = Math.sqrt(q), rule = normalRule(breaks.map((b) => b / scale));
  let mean = 0, second = 0, slope = 0, change = 0;
  rule.points.forEach((z, i) => {
    const [value, derivative] = f(scale * z), w = rule.weights[i];
    mean += w * value;
    second += w * value * value;
    slope += w * derivative * derivative;
    change += (w * value * value * (z * z - 1)) / 2;
  });
  return { mean, second, slope, change };
}

/** Where f or f' jumps between low and high: [{place, left, right, used, leftValue, rightValue, value}]. */
function kinksOf(f, low, high, count = 1500) {
  const found = [], step = (high - low) / count;
  let [a, fa] = [low, f(low)];
  for (let i = 1; i <= count; i++) {
    const b = low + i * step, fb = f(b);
    if (jumps(fa, fb, 1e-4)) {
      const place = narrowed(f, a, fa, b, fb);
      if (place !== null && !found.some((k) => Math.abs(k.place - place) < 1e-9)) found.push(kinkAt(f, place));
    }
    [a, fa] = [b, fb];
  }
  return found.slice(0, 40);
}

const jumps = (p, q, tolerance) =>
  Math.abs(p[0] - q[0]) > tolerance * (1 + Math.abs(p[0])) || Math.abs(p[1] - q[1]) > tolerance * (1 + Math.abs(p[1]));

/** The place between a and b at which the jump stays however near one looks, or null. */
function narrowed(f, a, fa, b, fb) {
  for (let k = 0; k < 60; k++) {
    const m = (a + b) / 2;
    if (m <= a || m >= b) break;
    const fm = f(m), left = distance(fa, fm), right = distance(fm, fb);
    if (!(left >= 0) || !(right >= 0)) return null;
    if (left > right) [b, fb] = [m, fm];
    else [a, fa] = [m, fm];
    if (k === 12 && !jumps(fa, fb, 1e-6)) return null;
    if (b - a < 1e-13) break;
  }
  if (!jumps(fa, fb, 1e-7)) return null;
  const near = Number(((a + b) / 2).toPrecision(9));
  return Math.abs(near) < 1e-10 ? 0 : near;
}

const distance = (p, q) => Math.abs(p[0] - q[0]) + Math.abs(p[1] - q[1]);

function kinkAt(f, place) {
  const d = 1e-8 * Math.max(1, Math.abs(place)), [l, r, here] = [f(place - d), f(place + d), f(place)];
  const jump = Math.abs(l[0] - r[0]) > 1e-6;
  const used = Math.abs(here[1] - l[1]) < 1e-6 ? l[1] : here[1];
  return { place, left: l[1], right: r[1], used, leftValue: l[0], rightValue: r[0], value: here[0], jump };
}

/** The value f settles at towards +-infinity, +-Infinity, or null where it does neither. */
function limitOf(f, side) {
  const at = [1e2, 1e4, 1e8, 1e16, 1e32].map((x) => f(side * x)[0]).filter((v) => !Number.isNaN(v));
  const [before, last] = at.slice(-2);
  if (at.length < 2) return null;
  if (!Number.isFinite(last)) return last;
  if (Math.abs(last - before) <= 1e-6 * (1 + Math.abs(last))) return Math.abs(last) < 1e-9 ? 0 : last;
  const grows = at.every((v, i) => !i || Math.abs(v) > Math.abs(at[i - 1]) + 0.1) && at.every((v) => v > 0 === last > 0);
  return grows ? Math.sign(last) * Infinity : null;
}

/** Facts by sampling, for what no proof is at hand: one's own formulas and other parameters. */
function factsOf(f) {
  const kinks = kinksOf(f, -12, 12, 4800), breaks = kinks.map((k) => k.place);
  const places = [];
  for (let i = -6000; i <= 6000; i++) places.push(i / 500);
  for (let k = 1; k <= 120; k++) places.push(12 * 10 ** (k / 15), -12 * 10 ** (k / 15));
  places.sort((a, b) => a - b);
  const samples = places.map((x) => [x, ...f(x)]).filter(([, v]) => Number.isFinite(v));
  const limits = [limitOf(f, -1), limitOf(f, 1)];
  const extreme = (sign) => {
    let best = samples[0] || [0, NaN, NaN];
    for (const s of samples) if (sign * s[1] > sign * best[1] + 1e-12) best = s;
    let [a, b] = [best[0] - 0.002, best[0] + 0.002];
    for (let k = 0; k < 60; k++) {
      const [p, q] = [a + (b - a) * 0.382, a + (b - a) * 0.618];
      if (sign * f(p)[0] > sign * f(q)[0]) b = q;
      else a = p;
    }
    const refined = f((a + b) / 2)[0];
    const inner = sign * refined > sign * best[1] ? [(a + b) / 2, refined] : [best[0], best[1]];
    const ends = limits.filter((v) => v !== null && sign * v >= sign * inner[1] - 1e-9);
    if (ends.length && Math.abs(inner[0]) > 11) return { value: sign * Math.max(...ends.map((v) => sign * v)), at: null };
    if (ends.some((v) => sign * v > sign * inner[1] + 1e-9))
      return { value: sign * Math.max(...ends.map((v) => sign * v)), at: null };
    return { value: inner[1], at: inner[0] };
  };
  const [low, high] = [extreme(-1), extreme(1)];
  const rises = samples.every(([, v], i) => !i || v >= samples[i - 1][1] - 1e-12 * (1 + Math.abs(v)));
  const falls = samples.every(([, v], i) => !i || v <= samples[i - 1][1] + 1e-12 * (1 + Math.abs(v)));
  const mirrored = (sign) =>
    [0.1, 0.37, 0.9, 1.7, 2.6, 5.1, 9.3].every((x) => {
      const [a, b] = [f(x)[0], sign * f(-x)[0]];
      return Math.abs(a - b) <= 1e-12 * (1 + Math.abs(a));
    });
  let lipschitz = 0, steepest = 0;
  for (const [x, , s] of samples) if (Math.abs(s) > lipschitz * (1 + 1e-9)) [lipschitz, steepest] = [Math.abs(s), x];
  if (kinks.some((k) => k.jump) || lipschitz > 1e5) lipschitz = Infinity;
  const m = moments(f, 1, breaks);
  return {
    kinks, limits, low, high, rises, falls, odd: mirrored(-1), even: mirrored(1), lipschitz, steepest,
    mean: m.mean, second: m.second, gain: 1 / Math.sqrt(m.second), chi: m.slope / m.second,
    variance_slope: m.change / m.second, correlation: (m.mean * m.mean) / m.second,
    undefined: samples.length < places.length,
  };
}

const raised = (exponent) => String(exponent).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

/** Five significant digits, a true minus. */
function digits(value, count = 5) {
  if (value === null || Number.isNaN(value)) return "undefined";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Math.abs(value) < 1e-12) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) {
    const [m, e] = value.toExponential(count - 1).split("e");
    return `${String(Number(m)).replace("-", "−")}·10${raised(Number(e))}`;
  }
  return String(Number(value.toPrecision(count))).replace("-", "−");
}

/** The same facts in words. */
function factRows(k) {
  const end = (v) => (v === null ? "no limit seen" : `→ ${digits(v)}`);
  const place = (e) => (e.at === null ? "" : `${digits(e.at, 4)}`);
  const rows = [
    ["range", `${k.low.at === null ? "(" : "["}${digits(k.low.value)}, ${digits(k.high.value)}${k.high.at === null ? ")" : "]"}` +
      (k.low.at === null ? "" : `, minimum at ${place(k.low)}`) + (k.high.at === null ? "" : `, maximum at ${place(k.high)}`)],
    ["x → −∞", end(k.limits[0])],
    ["x → ∞", end(k.limits[1])],
    ["smoothness", k.kinks.length ? (k.kinks.some((e) => e.jump) ? "discontinuous" : "with kinks") : "no kink found"],
  ];
  for (const e of k.kinks.slice(0, 6)) {
    const slopes = `slope ${digits(e.left)} | ${digits(e.right)}, used ${digits(e.used)}`;
    rows.push([`${e.jump ? "jump" : "kink"} at ${digits(e.place)}`, e.jump ? `f = ${digits(e.leftValue)} | ${digits(e.rightValue)}; ${slopes}` : slopes]);
  }
  rows.push(["monotone", k.rises && k.falls ? "constant" : k.rises ? "increasing" : k.falls ? "decreasing" : "no"]);
  if (k.odd !== k.even) rows.push(["symmetry", k.odd ? "odd: f(−x) = −f(x)" : "even: f(−x) = f(x)"]);
  rows.push(["steepest slope", Number.isFinite(k.lipschitz) ? `${digits(k.lipschitz)} at ${digits(k.steepest, 4)}` : "unbounded"]);
  if (k.undefined) rows.push(["undefined", "for some x between −10⁹ and 10⁹, or beyond what float64 holds there"]);
  return rows;
}

function normalFactRows(k) {
  return [
    ["mean", `${digits(k.mean)}, ${Math.abs(k.mean) < 1e-9 ? "" : "not "}zero-centred`],
    ["second moment", digits(k.second)],
    ["gain", `${digits(k.gain)}, keeps the second moment`],
    ["χ", `${digits(k.chi)} × the squared gradient per layer`],
    ["Q′(1)", `${digits(k.variance_slope)}, the second moment is ${k.variance_slope < 1 ? "stable" : "unstable"}`],
    ["C(0)", `${digits(k.correlation)}, correlation unrelated inputs get`],
  ];
}

/** What depth makes of a signal: for each layer the moments before and after f, and the gradient. */
function meanField(f, { depth, gain, bias }) {
  const breaks = kinksOf(f, -12, 12).map((k) => k.place), layers = [];
  let q = gain * gain + bias * bias;
  for (let l = 0; l < depth; l++) {
    const m = q > 1e-280 && q < 1e280 ? moments(f, q, breaks) : { mean: NaN, second: NaN, slope: NaN };
    layers.push({ q, mean: m.mean, variance: Math.max(0, m.second - m.mean * m.mean), factor: gain * gain * m.slope });
    q = gain * gain * m.second + bias * bias;
  }
  let g = 1;
  for (let l = depth - 1; l >= 0; l--) layers[l].gradient = g *= layers[l].factor;
  return layers;
}

/** Numbers that are the same for the same seed (mulberry32), and normal ones of them. */
function generator(seed) {
  let state = seed >>> 0, spare = null;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    const r = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    spare = r * Math.sin(angle);
    return r * Math.cos(angle);
  };
}

/** The same measured: a network with random weights, a batch of normal inputs, one backward pass. */
function simulate(f, { width, depth, gain, bias, seed, layer }) {
  const normal = generator(seed), batch = 12, scale = gain / Math.sqrt(width), layers = [], kept = [];
  let h = Float64Array.from({ length: batch * width }, normal);
  let shown = null;
  for (let l = 0; l < depth; l++) {
    const w = Float64Array.from({ length: width * width }, () => scale * normal());
    const b = Float64Array.from({ length: width }, () => bias * normal());
    const z = new Float64Array(batch * width), a = new Float64Array(batch * width), s = new Float64Array(batch * width);
    let mean = 0, second = 0, q = 0;
    for (let n = 0; n < batch; n++)
      for (let i = 0; i < width; i++) {
        let sum = b[i];
        for (let j = 0; j < width; j++) sum += w[i * width + j] * h[n * width + j];
        const [value, slope] = f(sum), at = n * width + i;
        [z[at], a[at], s[at]] = [sum, value, slope];
        mean += value;
        second += value * value;
        q += sum * sum;
      }
    const count = batch * width;
    layers.push({ q: q / count, mean: mean / count, variance: Math.max(0, second / count - (mean / count) ** 2) });
    kept.push({ w, s });
    if (l === layer) shown = { before: z, after: a };
    h = a;
  }
  let g = Float64Array.from({ length: batch * width }, normal), start = 0;
  for (const v of g) start += v * v;
  for (let l = depth - 1; l >= 0; l--) {
    const { w, s } = kept[l], back = new Float64Array(batch * width);
    let size = 0;
    for (let n = 0; n < batch; n++)
      for (let i = 0; i < width; i++) {
        const d = g[n * width + i] * s[n * width + i];
        if (d) for (let j = 0; j < width; j++) back[n * width + j] += w[i * width + j] * d;
      }
    for (const v of back) size += v * v;
    layers[l].gradient = size / start;
    g = back;
  }
  return { layers, shown };
}
