// Sets formulas: one JSON object a line on stdin, {tex, relation, display}; one a line on stdout,
// {html, width, widest} in em, or {error}. The folder of KaTeX is the argument.
"use strict";

const fs = require("fs");
const path = require("path");

const katex = require(process.argv[2]);
// The classes that KaTeX's stylesheet speaks of. It gives its spans more, which only make a page longer.
const STYLED = new Set(
  fs
    .readFileSync(path.join(process.argv[2], "dist", "katex.min.css"), "utf8")
    .match(/\.[a-zA-Z][\w-]*/g)
    .map((name) => name.slice(1))
    .concat("pile", "moved", "script", "scriptscript"),
);
// Elements whose children the stylesheet finds by their place, not by a class.
const PLACED = ["vlist", "pile", "mfrac", "katex-inner", "delim-size1", "delim-size4"];
// What holds a pile of parts that can do without a table.
const PILES = ["msupsub", "mfrac", "op-limits"];
// The spaces around signs have a class each, in formulas.css, not a style of their own.
const SPACES = { "0.1667em": "thin", "0.2222em": "medium", "0.2778em": "thick" };

// What a line of KaTeX's font takes in any case, above its baseline and below, in em: 0.916 and 0.284, at a
// line-height of 1.2.
const ASCENT = 0.9;
const DESCENT = 0.28;

// What one line of a phone of 360 px holds, in em of the formula. A part that cannot break and is wider is opened.
const PHONE = 17;
// Parentheses narrower than this stay whole: a line broken within them helps little and reads badly.
const WORTH_OPENING = 8;
// A root wider than this fits no page, and a root cannot break; it is set as a power.
const PAGE = 36;
// The sizes of indices have a class each, in formulas.css, for KaTeX's three.
const SCRIPTS = { "1,0.7": "script", "0.7,0.5": "scriptscript" };
// KaTeX's sizes 1 to 11, relative to the size around them.
const SIZES = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.44, 1.728, 2.074, 2.488];
// The heights of \big, \Big, \bigg and \Bigg.
const DELIMITERS = [["big", 1.2], ["Big", 1.8], ["bigg", 2.4], ["Bigg", Infinity]];

function tree(tex) {
  return katex.__renderToDomTree(tex, { output: "html", throwOnError: true, strict: "error" });
}

// The parts of a formula between which a line may break.
function parts(tex) {
  return tree(tex).children[0].children;
}

function em(length) {
  return length && length.endsWith("em") ? parseFloat(length) : 0;
}

// The sizes that classes change from and to.
function sizes(classes) {
  return [/^reset-size(\d+)$/, /^size(\d+)$/].map((kind) => {
    const name = classes.find((one) => kind.test(one));
    return name && SIZES[name.match(kind)[1] - 1];
  });
}

const known = new Map();

// How wide a text is: KaTeX joins letters into one and keeps the width of the first.
function textWidth({ text, width: first }) {
  const letters = [...text];
  if (letters.length < 2) return first;
  return sum(
    letters.map((letter) => {
      if (!/[a-zA-Z0-9]/.test(letter)) return 0.5;
      if (!known.has(letter)) known.set(letter, sum(parts(`\\mathrm{${letter}}`).map(width)));
      return known.get(letter);
    }),
  );
}

// About how wide a part is, from the widths of its glyphs: a browser is asked only when the page is read.
function width(node) {
  const classes = node.classes || [];
  const style = node.style || {};
  const around = em(style.marginLeft) + em(style.marginRight) + em(style.paddingLeft);
  if (node.text !== undefined) return textWidth(node) + (node.italic || 0) + around;
  if (classes.includes("strut") || classes.includes("pstrut") || classes.includes("vlist-s")) return 0;
  if (classes.includes("nulldelimiter")) return 0.12;
  const widths = (node.children || []).map(width);
  const stacked = classes.some((name) => /^vlist(-t2?)?$/.test(name));
  let found = stacked ? Math.max(0, ...widths) : widths.reduce((all, one) => all + one, 0);
  const [from, to] = sizes(classes);
  if (from && to) found *= to / from;
  return Math.max(em(style.width) || found, em(style.minWidth)) + around;
}

function plain(node) {
  return !node.classes.length && !Object.keys(node.style).length && !Object.keys(node.attributes || {}).length;
}

function has(node, name) {
  return Boolean(node.classes && node.classes.includes(name));
}

// A pile of parts, each at its height: KaTeX makes a table of each, which is most of a page's length. Where the
// stylesheet does not ask for that table, it becomes a grid whose parts share one cell, moved up and down from one
// baseline (see formulas.css); of a single part, as an index or an exponent, it becomes that part, moved.
function pile(table) {
  const parts = table.children[0].children[0].children;
  for (const part of parts) {
    const [strut, ...content] = part.children;
    let size = 1;
    part.children = content;
    if (content.length === 1 && has(content[0], "katex-sizing") && !Object.keys(content[0].style).length) {
      const [from, to] = sizes(content[0].classes);
      size = to / from;
      part.classes.push(...content[0].classes);
      part.children = content[0].children;
    }
    part.style.top = `${em(part.style.top) + em(strut.style.height)}em`;
    for (const side of ["top", "marginLeft", "marginRight"]) {
      const length = em(part.style[side]) / size;
      if (Math.abs(length) < 1e-6) delete part.style[side];
      else part.style[side] = `${Number(length.toFixed(4))}em`;
    }
  }
  if (parts.length === 1) {
    parts[0].classes.push("moved");
    return parts[0];
  }
  table.classes = ["pile"];
  table.children = parts;
  return table;
}

// A strut that keeps no more room than the line it stands in has of itself.
function idle(node) {
  if (!has(node, "katex-strut")) return false;
  const below = -em(node.style.verticalAlign);
  return below <= DESCENT && em(node.style.height) - below <= ASCENT;
}

// Takes what changes nothing out of a tree: tables, struts, classes without a style, and spans that are left with nothing.
function slim(node, parents = []) {
  if (!node.classes || !node.style) return node;
  if (has(node, "mspace") && SPACES[node.style.marginRight]) {
    node.classes = [SPACES[node.style.marginRight]];
    node.style = {};
    return node;
  }
  if (node.children && PILES.some((name) => has(node, name))) {
    node.children = node.children.map((child) => (has(child, "vlist-t") ? pile(child) : child));
    node.classes = node.classes.filter((name) => name !== "msupsub");
  }
  if (has(node, "delimcenter") && em(node.style.top) === 0) {
    node.classes = [];
    node.style = {};
  }
  if (has(node, "katex-base") && node.children.length > 1) {
    node.children = node.children.filter((child) => !idle(child));
  }
  const placed = [node.classes, ...parents].slice(0, 2).flat().some((name) => PLACED.includes(name));
  const around = [[...node.classes], ...parents];
  const shorter = has(node, "katex-sizing") && SCRIPTS[sizes(node.classes).join()];
  if (shorter) node.classes = [...node.classes.filter((name) => !/size\d*|katex-sizing/.test(name)), shorter];
  node.classes = node.classes.filter((name) => STYLED.has(name));
  if (node.children) {
    node.children = node.children.flatMap((child) => {
      slim(child, around);
      return child.children && child.classes && !placed && plain(child) ? child.children : [child];
    });
  }
  return node;
}

// A style with lengths to a thousandth of an em, finer than what any screen or printer shows.
function rounded(_, style) {
  const lengths = style.replace(/-?\d+\.\d+/g, (length) => {
    const near = Number(Number(length).toFixed(3));
    return String(near || 0).replace(/^(-?)0\./, "$1.");
  });
  return ` style="${lengths.replace(/;$/, "")}"`;
}

function sum(widths) {
  return widths.reduce((all, one) => all + one, 0);
}

// Where the group that begins at `start` ends: a balanced {...}, or \left ... \right.
function groupEnd(tex, start) {
  let depth = 0;
  const step = /\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\.|[{}]/gs;
  step.lastIndex = start;
  for (let found; (found = step.exec(tex)); ) {
    if (found[0] === "{" || found[0] === "\\left") depth += 1;
    if (found[0] === "}" || found[0] === "\\right") depth -= 1;
    if (depth === 0) return { inner: found.index, end: step.lastIndex };
  }
  throw new Error(`unbalanced group in ${tex}`);
}

// The formula with its outermost wide parentheses set in a fixed size, which lets a line break within them.
function opened(tex) {
  let out = "";
  let at = 0;
  while (at < tex.length) {
    const rest = tex.slice(at);
    const round = rest.match(/^\\left\(/);
    const root = rest.match(/^\\sqrt(?=\{)/);
    if (round || root || rest[0] === "{") {
      const { inner, end } = groupEnd(tex, root ? at + root[0].length : at);
      if (round && tex[end] === ")") {
        const content = tex.slice(at + round[0].length, inner);
        const whole = tree(`\\displaystyle ${tex.slice(at, end + 1)}`).children[0].children;
        if (sum(whole.map(width)) >= WORTH_OPENING) {
          const tall = Math.max(...whole.map((part) => part.height + part.depth));
          const [size] = DELIMITERS.find(([, height]) => tall <= height * 1.1);
          out += `\\${size}l(${content}\\${size}r)`;
        } else {
          out += tex.slice(at, end + 1);
        }
        at = end + 1;
        continue;
      }
      const content = tex.slice(at + (root ? root[0].length + 1 : 0), inner);
      if (root && sum(parts(`\\displaystyle ${content}`).map(width)) > PAGE) {
        out += `\\left(${content}\\right)^{1/2}`;
      } else {
        out += tex.slice(at, end);
      }
      at = end;
    } else {
      const token = rest.match(/^\\([a-zA-Z]+|.)|^./s)[0];
      out += token;
      at += token.length;
    }
  }
  return out;
}

function typeset({ tex, relation, display }) {
  const shown = relation ? `${relation} ${tex}` : tex;
  // The sign that a line begins with stays with what follows it.
  const begin = (display ? "\\displaystyle " : "") + (relation ? `${relation} \\nobreak ` : "");
  let laid = tex;
  let widths = parts(begin + laid).map(width);
  while (display && Math.max(...widths) > PHONE) {
    const looser = opened(laid);
    if (looser === laid) break;
    laid = looser;
    widths = parts(begin + laid).map(width);
  }
  const mathml = katex.renderToString(shown, { output: "mathml", throwOnError: true, strict: "error" });
  const math = mathml
    .replace(/^<span class="katex">/, '<span class="katex-mathml">')
    .replace(/<annotation.*<\/annotation>|<\/?semantics>| xmlns="[^"]*"/gs, "");
  const set = slim(tree(begin + laid)).children[0].toMarkup().replace(/ style="([^"]*)"/g, rounded);
  const html = `<span class="katex">${math}${set}</span>`;
  return { html, width: sum(widths), widest: Math.max(0, ...widths) };
}

function answer(line) {
  try {
    return typeset(JSON.parse(line));
  } catch (error) {
    return { error: error.message };
  }
}

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => process.stdout.write(JSON.stringify(answer(line)) + "\n"));
