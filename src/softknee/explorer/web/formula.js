// One's own formula: read, differentiated, simplified, set and written by the rules of softknee's language.
// A tree is a number, a name, or [operation, operands...]. Nothing is ever handed to the browser as code.

class FormulaError extends Error {
  constructor(message, at) {
    super(message);
    this.at = at;
  }
}

const LANGUAGE = DATA.language;
const OTHER_NAMES = { max: "maximum", min: "minimum", ln: "log", phi: "normal_pdf", Phi: "normal_cdf", arctan: "atan", arsinh: "asinh", logistic: "sigmoid" };
const INFIX = ["add", "sub", "mul", "div", "neg", "pow", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"];
const CALLABLE = Object.keys(LANGUAGE.operations).filter((op) => !INFIX.includes(op));
const LONGEST = 400;
// signs as papers and this page print them
const PRINTED = { "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!=", "²": "**2", "³": "**3" };
const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

function tokens(text) {
  const found = [], pattern = /\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|([A-Za-z_]\w*|[α-εζηθκλμνξπρστχψωϵ])|(\*\*|<=|>=|==|!=|[-+*/^(),<>&|~]|[−–×·⋅÷≤≥≠²³]))/y;
  let at = 0;
  while (at < text.trimEnd().length) {
    pattern.lastIndex = at;
    const m = pattern.exec(text);
    if (!m) {
      const bad = at + text.slice(at).search(/\S/);
      throw new FormulaError(`“${text[bad]}” is not part of the language`, bad);
    }
    at = pattern.lastIndex;
    const value = m[1] ?? m[2] ?? m[3], place = at - value.length, greek = Object.keys(GREEK).find((n) => GREEK[n] === value.replace("ε", "ϵ"));
    if (m[1] && !Number.isFinite(Number(value))) throw new FormulaError(`${value} is too large`, place);
    if (value === "²" || value === "³") found.push({ kind: "sign", value: "**", at: place }, { kind: "number", value: PRINTED[value].slice(2), at: place });
    else found.push({ kind: m[1] ? "number" : m[2] ? "name" : "sign", value: greek ?? own(PRINTED, value) ?? value, at: place });
  }
  return found;
}

/** "B": a condition; "R": a number. */
const kindOf = (tree) => (Array.isArray(tree) && ["lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"].includes(tree[0]) ? "B" : "R");

/** The tree of a formula; a FormulaError says what is wrong and where. */
function parse(text) {
  if (text.length > LONGEST) throw new FormulaError(`a formula has at most ${LONGEST} characters`, LONGEST);
  const list = tokens(text);
  let i = 0;
  const peek = () => list[i]?.value, here = () => list[i]?.at ?? text.length;
  const take = (...values) => (values.includes(peek()) && (list[i].kind !== "number") ? list[i++].value : null);
  const need = (value) => {
    if (!take(value)) throw new FormulaError(peek() === undefined ? `“${value}” is missing at the end` : `“${value}” expected, found “${peek()}”`, here());
  };
  const kind = kindOf;
  const checked = (op, args, at, spelled = op) => {
    const wanted = LANGUAGE.operations[op][0];
    if (args.length !== wanted.length)
      throw new FormulaError(`${spelled} takes ${wanted.length} argument${wanted.length > 1 ? "s" : ""}, got ${args.length}`, at);
    args.forEach((a, k) => {
      if (kind(a) !== wanted[k]) throw new FormulaError(wanted[k] === "B" ? `${spelled} needs a condition here, such as x > 0` : `${spelled} needs a number here, not a condition`, at);
    });
    return [op, ...args];
  };
  const left = (next, table) => () => {
    let tree = next();
    for (;;) {
      const at = here(), sign = take(...Object.keys(table));
      if (!sign) return tree;
      tree = checked(table[sign], [tree, next()], at, sign);
    }
  };
  const atom = () => {
    const token = list[i], at = here();
    if (!token) throw new FormulaError("the formula ends too early", at);
    i++;
    if (token.kind === "number") return Number(token.value);
    if (token.value === "(") {
      const inside = either();
      need(")");
      return inside;
    }
    if (token.kind === "sign") throw new FormulaError(`“${token.value}” cannot stand here`, at);
    const name = own(OTHER_NAMES, token.value) ?? token.value;
    if (take("(")) {
      const args = [];
      if (peek() !== ")") do args.push(either()); while (take(","));
      need(")");
      if (own(LANGUAGE.shorthands, name)) {
        const [letters, body] = LANGUAGE.shorthands[name];
        if (args.length !== letters.length) throw new FormulaError(`${name} takes ${letters.length} argument${letters.length > 1 ? "s" : ""}, got ${args.length}`, at);
        if (args.some((a) => kind(a) === "B")) throw new FormulaError(`${name} needs a number here, not a condition`, at);
        return replaced(body, Object.fromEntries(args.map((a, k) => [letters[k], a])));
      }
      if (!CALLABLE.includes(name)) throw new FormulaError(`no function is called ${token.value}`, at);
      return checked(name, args, at, token.value);
    }
    if (CALLABLE.includes(name) || own(LANGUAGE.shorthands, name)) throw new FormulaError(`${token.value} is a function: ${token.value}(x)`, at);
    if (name === "lambda") throw new FormulaError("lambda is a word of Python: call the parameter lambd", at);
    if (/^(nan|inf|infinity)$/i.test(name)) throw new FormulaError(`a formula has no ${name}`, at);
    if (LANGUAGE.reserved.includes(name) || /[A-Z]|^_/.test(name)) throw new FormulaError(`no parameter can be called ${name}; lower case letters, digits and _ make a name`, at);
    return name;
  };
  const powered = () => {
    const base = atom(), at = here();
    return take("**", "^") ? checked("pow", [base, signed()], at, "**") : base;
  };
  const signed = () => {
    const at = here();
    if (take("+")) return signed();
    if (!take("-")) return powered();
    const inner = signed();
    return typeof inner === "number" ? -inner : checked("neg", [inner], at, "-");
  };
  const product = left(signed, { "*": "mul", "/": "div" });
  const sum = left(product, { "+": "add", "-": "sub" });
  const comparison = () => {
    const a = sum(), at = here(), table = { "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne" };
    const sign = take(...Object.keys(table));
    if (!sign) return a;
    const tree = checked(table[sign], [a, sum()], at, sign);
    if (Object.keys(table).includes(peek())) throw new FormulaError("compare two things at a time, and join with &", here());
    return tree;
  };
  const negated = () => {
    const at = here();
    return take("~", "not") ? checked("not", [negated()], at, "not") : comparison();
  };
  const both = left(negated, { "&": "and", and: "and" });
  const either = left(both, { "|": "or", or: "or" });
  if (!list.length) throw new FormulaError("write a formula in x", 0);
  const tree = either();
  if (i < list.length) {
    const operand = list[i].kind !== "sign" || peek() === "(";
    throw new FormulaError(operand ? `a sign, such as *, is missing before “${peek()}”` : `“${peek()}” cannot stand here`, here());
  }
  if (kind(tree) === "B") throw new FormulaError("this is a condition; use where(condition, a, b)", 0);
  constants(tree);
  const names = symbolsOf(tree);
  if (!names.includes("x")) throw new FormulaError("the formula does not depend on x", 0);
  if (names.length > 6) throw new FormulaError("at most five parameters, please", 0);
  return tree;
}

/** A FormulaError where a part without names is no number: Python would stop there, or never end. */
function constants(tree) {
  if (!Array.isArray(tree) || kindOf(tree) === "B") return;
  if (symbolsOf(tree).length) tree.slice(1).forEach(constants);
  else if (!Number.isFinite(compiled(tree, [])([]))) throw new FormulaError(`${toPython(tree)} is not a finite number`, 0);
}

function symbolsOf(tree, found = []) {
  if (typeof tree === "string" && tree !== "pi" && !found.includes(tree)) found.push(tree);
  if (Array.isArray(tree)) tree.slice(1).forEach((t) => symbolsOf(t, found));
  return found;
}

function replaced(tree, by) {
  if (typeof tree === "string") return own(by, tree) ?? tree;
  return Array.isArray(tree) ? [tree[0], ...tree.slice(1).map((t) => replaced(t, by))] : tree;
}

/** A function of the values of `names`, in order, made of closures. */
function compiled(tree, names) {
  if (typeof tree === "number") return () => tree;
  if (tree === "pi") return () => Math.PI;
  if (typeof tree === "string") {
    const k = names.indexOf(tree);
    return (v) => v[k];
  }
  const call = OPERATIONS[tree[0]], [a, b, c] = tree.slice(1).map((t) => compiled(t, names));
  return c ? (v) => call(a(v), b(v), c(v)) : b ? (v) => call(a(v), b(v)) : (v) => call(a(v));
}

function differentiated(tree, by) {
  if (typeof tree === "string") return tree === by ? 1 : 0;
  if (!Array.isArray(tree) || tree[0] === "detach") return 0;
  const [op, ...args] = tree;
  if (op === "where") return simplified(["where", args[0], differentiated(args[1], by), differentiated(args[2], by)]);
  const inner = args.map((a) => differentiated(a, by));
  if (op === "minimum" || op === "maximum") {
    if (inner.every((t) => t === 0)) return 0;
    return simplified(["where", [op === "minimum" ? "ge" : "le", ...args], inner[1], inner[0]]);
  }
  let total = 0;
  LANGUAGE.rules[op].forEach((partial, k) => {
    if (inner[k] === 0) return;
    const term = simplified(["mul", simplified(replaced(partial, { a: args[0], b: args[1] })), inner[k]]);
    total = simplified(["add", total, term]);
  });
  return total;
}

const same = (a, b) => a === b || (Array.isArray(a) && JSON.stringify(a) === JSON.stringify(b));

/** Constants folded, zeros and ones gone. */
function simplified(tree) {
  if (!Array.isArray(tree)) return tree;
  const [op, ...raw] = tree, args = raw.map(simplified), [a, b] = args;
  if (op !== "where" && args.every((t) => typeof t === "number") && !["lt", "le", "gt", "ge", "eq", "ne"].includes(op)) {
    const value = OPERATIONS[op](...args);
    if (Number.isInteger(value) || (["add", "sub", "mul", "neg"].includes(op) && Number.isFinite(value))) return value;
  }
  if (op === "add") {
    if (a === 0) return b;
    if (b === 0) return a;
    if (b[0] === "neg") return simplified(["sub", a, b[1]]);
  }
  if (op === "sub") {
    if (b === 0) return a;
    if (a === 0) return simplified(["neg", b]);
    if (same(a, b)) return 0;
  }
  if (op === "mul") {
    if (a === 0 || b === 0) return 0;
    if (a === 1) return b;
    if (b === 1) return a;
    if (a === -1) return simplified(["neg", b]);
    if (b === -1) return simplified(["neg", a]);
    if (a[0] === "neg") return simplified(["neg", ["mul", a[1], b]]);
    if (b[0] === "neg") return simplified(["neg", ["mul", a, b[1]]]);
    if (typeof b === "number" && typeof a !== "number") return simplified(["mul", b, a]);
    if (typeof a === "number" && b[0] === "mul" && typeof b[1] === "number") return simplified(["mul", a * b[1], b[2]]);
    if (typeof a === "number" && b[0] === "div" && b[1] === 1) return ["div", a, b[2]];
    if (a[0] === "div" && a[1] === 1) return simplified(["div", b, a[2]]);
    if (b[0] === "div" && b[1] === 1) return simplified(["div", a, b[2]]);
  }
  if (op === "div") {
    if (a === 0) return 0;
    if (b === 1) return a;
    if (a[0] === "neg") return simplified(["neg", ["div", a[1], b]]);
  }
  if (op === "neg" && a[0] === "neg") return a[1];
  if (op === "neg" && typeof a === "number") return -a;
  if (op === "pow" && b === 1) return a;
  if (op === "pow" && b === 0) return 1;
  if (op === "where" && same(args[1], args[2])) return args[1];
  return [op, ...args];
}

// How tightly the outermost operation binds
const BINDS = { or: 0, and: 1, not: 2, lt: 3, le: 3, gt: 3, ge: 3, eq: 3, ne: 3, add: 4, sub: 4, mul: 5, div: 5, neg: 5.5, pow: 6 };
const binds = (t) => (typeof t === "number" && t < 0 ? 5.5 : Array.isArray(t) ? BINDS[t[0]] ?? 7 : 7);

/** The formula as Python over softknee.lang. */
function toPython(tree) {
  const put = (t, least) => (binds(t) < least ? `(${toPython(t)})` : toPython(t));
  if (!Array.isArray(tree)) return typeof tree === "number" ? String(tree) : tree;
  const [op, a, b] = tree;
  const sign = { add: " + ", sub: " - ", mul: "*", div: "/", lt: " < ", le: " <= ", gt: " > ", ge: " >= ", eq: " == ", ne: " != " }[op];
  if (sign) return put(a, op in { lt: 1, le: 1, gt: 1, ge: 1, eq: 1, ne: 1 } ? 4 : BINDS[op]) + sign + put(b, BINDS[op] + (op === "add" ? 0 : 0.5));
  if (op === "and" || op === "or") return put(a, 7) + (op === "and" ? " & " : " | ") + put(b, 7);
  if (op === "not") return `~${put(a, 7)}`;
  if (op === "neg") return `-${put(a, 5.5)}`;
  if (op === "pow") return `${put(a, 7)}**${put(b, 7)}`;
  return `${op}(${tree.slice(1).map(toPython).join(", ")})`;
}

/** The functions of softknee.lang that the Python line needs. */
function importsOf(tree, found = new Set()) {
  if (tree === "pi") found.add("pi");
  if (Array.isArray(tree)) {
    if (!(tree[0] in BINDS) && tree[0] !== "abs") found.add(tree[0]);
    tree.slice(1).forEach((t) => importsOf(t, found));
  }
  return found;
}

const GREEK = { alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ", lambd: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", chi: "χ", psi: "ψ", omega: "ω" };
const CALLED = { log: "ln", sigmoid: "σ", normal_cdf: "Φ", normal_pdf: "φ", atan: "arctan", asinh: "arsinh", sign: "sgn", minimum: "min", maximum: "max" };

/** The formula as MathML; "" for one too long to read. */
function toMathML(tree) {
  const text = mathml(tree);
  return text.length > 12000 ? "" : text;
}

function mathml(tree) {
  const paren = (inside) => `<mo stretchy="false">(</mo>${inside}<mo stretchy="false">)</mo>`;
  const open = (t) => (Array.isArray(t) && t[0] === "where" ? 3.5 : binds(t));
  const put = (t, least) => (open(t) < least ? paren(mathml(t)) : mathml(t));
  if (typeof tree === "number") {
    const text = digits(Math.abs(tree), 12);
    return (tree < 0 ? '<mo form="prefix">−</mo>' : "") + `<mn>${text}</mn>`;
  }
  if (typeof tree === "string") {
    const [base, ...below] = tree.split("_"), letter = `<mi>${own(GREEK, base) ?? base}</mi>`;
    return below.length ? `<msub>${letter}<mi>${below.join("_")}</mi></msub>` : letter;
  }
  const [op, a, b, c] = tree;
  const relation = { lt: "&lt;", le: "≤", gt: "&gt;", ge: "≥", eq: "=", ne: "≠" }[op];
  if (relation) return `${put(a, 4)}<mo>${relation}</mo>${put(b, 4)}`;
  if (op === "and" || op === "or") return `${put(a, 3)}<mtext>&#160;${op}&#160;</mtext>${put(b, 3)}`;
  if (op === "not") return `<mtext>not&#160;</mtext>${put(a, 3)}`;
  if (op === "add" || op === "sub") return `${put(a, 4)}<mo>${op === "add" ? "+" : "−"}</mo>${put(b, op === "add" ? 4 : 5)}`;
  if (op === "mul") {
    const dot = typeof b === "number" || (typeof a === "number" && Array.isArray(b) && b[0] === "pow" && typeof b[1] === "number");
    return put(a, 5) + (dot ? "<mo>·</mo>" : '<mspace width="0.12em"/>') + put(b, 5.2);
  }
  if (op === "div") return `<mfrac><mrow>${mathml(a)}</mrow><mrow>${mathml(b)}</mrow></mfrac>`;
  if (op === "neg") return `<mo form="prefix">−</mo>${put(a, 5)}`;
  if (op === "pow") return `<msup><mrow>${put(a, 7)}</mrow><mrow>${mathml(b)}</mrow></msup>`;
  if (op === "exp") return `<msup><mi>e</mi><mrow>${mathml(a)}</mrow></msup>`;
  if (op === "expm1") return `<mo stretchy="false">(</mo><msup><mi>e</mi><mrow>${mathml(a)}</mrow></msup><mo>−</mo><mn>1</mn><mo stretchy="false">)</mo>`;
  if (op === "log1p") return `<mi>ln</mi>${paren(`<mn>1</mn><mo>+</mo>${put(a, 4)}`)}`;
  if (op === "sqrt") return `<msqrt>${mathml(a)}</msqrt>`;
  if (op === "abs") return `<mo stretchy="false" form="prefix">|</mo>${mathml(a)}<mo stretchy="false" form="postfix">|</mo>`;
  if (op === "detach") return mathml(a);
  if (op === "where") {
    const row = (value, condition) => `<mtr><mtd>${mathml(value)}</mtd><mtd>${condition}</mtd></mtr>`;
    const rows = [], walk = (t) => {
      if (Array.isArray(t) && t[0] === "where") {
        rows.push(row(t[2], `<mtext>if&#160;</mtext>${mathml(t[1])}`));
        walk(t[3]);
      } else rows.push(row(t, "<mtext>otherwise</mtext>"));
    };
    walk(tree);
    return `<mtable class="sk-cases">${rows.join("")}</mtable>`;
  }
  return `<mi>${CALLED[op] ?? op}</mi><mo>&#8289;</mo>${paren([a, b, c].filter((t) => t !== undefined).map(mathml).join("<mo>,</mo>"))}`;
}
