// Draws the curves of a figure anew when a slider moves. The formulas are those that were proved; Python wrote
// them as JavaScript and drew the picture that stands here before (proofbook/ledger/draggable.py).
(() => {
  "use strict";

  // Where points of a panel are in its picture: Python says the frame it drew the first one in.
  const drawnIn = ({ width, height, left: west, right: east, top: north, bottom: south }) => {
    const place = ({ x: ends, y: [low, high], log }, x, y) => {
      const up = Math.min(Math.max((y - low) / (high - low), -5), 6);
      const [first, last, at] = [...ends, x].map((one) => (log ? Math.log(one) : one));
      return [
        west + ((at - first) / (last - first)) * (width - west - east),
        height - south - up * (height - north - south),
      ].map((one) => one.toFixed(1));
    };
    const path = (panel, points) => {
      let pen = "M", d = "";
      for (const [x, y] of points) {
        if (!Number.isFinite(x) || !Number.isFinite(y)) { pen = "M"; continue; }
        d += pen + place(panel, x, y).join(" ");
        pen = "L";
      }
      return d;
    };
    const dots = (panel, points) =>
      points
        .filter((point) => point.every(Number.isFinite))
        .map(([x, y]) => `M${place(panel, x, y).join(" ")}h0`)
        .join("");
    return { place, path, dots };
  };

  const prepared = (data) => {
    const { place, path, dots } = drawnIn(data.frame);
    const { samples } = data.frame;
    const made = (js) => new Function(...data.names, `return ${js};`);
    const call = (f, values) => f(...data.names.map((name) => values[name]));
    const draw = {
      curve: (mark, panel) => {
        const f = made(mark.js);
        const [low, high] = panel.x;
        const along = (k) => (panel.log ? low * (high / low) ** k : low + (high - low) * k);
        const over = Array.from({ length: samples + 1 }, (_, k) => along(k / samples));
        return (values) => path(panel, over.map((x) => [x, call(f, { ...values, [mark.over]: x })]));
      },
      line: (mark, panel) => {
        const points = mark.points.map((point) => point.map(made));
        return (values) => path(panel, points.map((point) => point.map((f) => call(f, values))));
      },
      dot: (mark, panel) => {
        const [x, y] = [made(mark.x), made(mark.y)];
        return (values) => dots(panel, [[call(x, values), call(y, values)]]);
      },
      bars: (mark, panel) => {
        const heights = mark.js.map(made);
        const wide = (panel.x[1] - panel.x[0]) / heights.length;
        return (values) =>
          heights
            .map((f, k) => {
              const [left, top] = place(panel, panel.x[0] + wide * (k + 0.1), call(f, values));
              const [right, bottom] = place(panel, panel.x[0] + wide * (k + 0.9), panel.y[0]);
              return `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
            })
            .join("");
      },
      iterates: (mark, panel) => {
        const [start, step, height] = [mark.start, mark.step, mark.height].map(made);
        return (values) => {
          const points = [];
          let at = call(start, values);
          for (let k = 0; k < mark.count; k++) {
            const here = { ...values, [mark.of]: at };
            points.push([at, call(height, here)]);
            at = call(step, here);
          }
          return dots(panel, points);
        };
      },
    };
    const panels = data.panels.map((panel) => panel.marks.map((mark) => draw[mark.kind](mark, panel)));
    const readings = data.readings.map((one) => ({ ...one, value: made(one.js) }));
    return { panels, readings, call };
  };

  const begin = (figure) => {
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const { panels, readings, call } = prepared(data);
    const values = Object.fromEntries(data.names.map((name) => [name, 0]));
    const places = [...figure.querySelectorAll(".draggable-panels > svg > svg")].map((one) => [...one.children]);
    const shown = [...figure.querySelectorAll(".draggable-readings output")];
    const redraw = () => {
      panels.forEach((marks, k) => marks.forEach((mark, m) => places[k][m].setAttribute("d", mark(values))));
      readings.forEach((one, k) => { shown[k].textContent = call(one.value, values).toFixed(one.digits); });
    };
    const controls = figure.querySelector(".draggable-controls");
    for (const slider of data.sliders) {
      values[slider.name] = slider.start;
      const label = document.createElement("label");
      const input = document.createElement("input");
      const value = document.createElement("output");
      Object.assign(input, { type: "range", min: slider.low, max: slider.high, step: slider.step });
      input.value = slider.start;
      const digits = Math.max(0, Math.ceil(-Math.log10(slider.step) - 1e-9));
      const moved = () => {
        values[slider.name] = Number(input.value);
        value.textContent = values[slider.name].toFixed(digits);
        redraw();
      };
      input.addEventListener("input", moved);
      label.append(slider.label, " ", input, " ", value);
      value.textContent = slider.start.toFixed(digits);
      controls.append(label);
    }
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("figure.draggable").forEach(begin));
})();
