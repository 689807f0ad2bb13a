/* Figures that can be touched. Each div.touch holds its data as JSON, written by bitslice/book/touch.py; what is built
   from it stands where the printed figure stood, which folds away below. Needs no other script and no network. */
(() => {
  "use strict";

  const build = (create) => (tag, attributes = {}, ...children) => {
    const element = create(tag);
    for (const [name, value] of Object.entries(attributes))
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const html = build((tag) => document.createElement(tag));
  const svg = build((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  const short = (value) => (value === 0 ? "0" : String(+value.toPrecision(3)));
  const percent = (share) => `${short(100 * share)}%`;
  const range = (n) => [...Array(n).keys()];

  const slider = (label, least, most, value, say = String) => {
    const told = html("output", {}, say(value));
    const input = html("input", { type: "range", min: least, max: most, value, "aria-valuetext": say(value) });
    input.tell = () => {
      told.textContent = say(+input.value);
      input.setAttribute("aria-valuetext", say(+input.value));
    };
    return [html("label", {}, `${label} `, input, " ", told), input];
  };

  let groups = 0;
  const choice = (title, names, chosen) => {
    const group = `touch-${groups++}`;
    const inputs = names.map((name) => html("input", { type: "radio", name: group, value: name }));
    inputs[names.indexOf(chosen)].checked = true;
    const labels = inputs.map((input) => html("label", {}, input, ` ${input.value}`));
    const field = html("fieldset", {}, html("legend", {}, title), ...labels);
    return [field, () => inputs.find((input) => input.checked).value];
  };

  /* Axes of a picture `wide` pixels wide; x and y give pixels. A logarithmic axis has ticks at powers of ten. */
  const axes = (wide, { x: [x0, x1], y: [y0, y1], log, xTicks, yTicks, xLabel, yLabel, name }, high = 260) => {
    const [left, right, top, bottom] = [52, 12, 22, 40];
    const scale = log ? Math.log10 : (value) => value;
    const x = (value) => left + ((value - x0) / (x1 - x0)) * (wide - left - right);
    const y = (value) => high - bottom - ((scale(value) - scale(y0)) / (scale(y1) - scale(y0))) * (high - top - bottom);
    const picture = svg("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": name });
    const text = (content, at) => picture.append(svg("text", at, content));
    const line = (x1, y1, x2, y2, kind) => picture.append(svg("line", { x1, y1, x2, y2, class: kind }));
    line(left, high - bottom, wide - right, high - bottom, "axis");
    line(left, top, left, high - bottom, "axis");
    for (const value of xTicks) {
      line(x(value), high - bottom, x(value), high - bottom + 4, "axis");
      text(short(value), { x: x(value), y: high - bottom + 17, "text-anchor": "middle" });
    }
    const decades = Math.ceil((Math.log10(y1) - Math.log10(y0)) / 6);
    const powers = range(41).map((k) => 10 ** (decades * (k - 20))).filter((value) => value >= y0 && value <= y1);
    yTicks ??= log ? powers : range(6).map((k) => y0 + (k * (y1 - y0)) / 5);
    for (const value of yTicks) {
      line(left - 4, y(value), left, y(value), "axis");
      text(log && (value < 1e-3 || value > 1e4) ? value.toExponential(0) : short(value), { x: left - 7, y: y(value) + 4, "text-anchor": "end" });
    }
    text(xLabel, { x: (left + wide - right) / 2, y: high - 5, "text-anchor": "middle" });
    text(yLabel, { x: 4, y: 12 });
    return { picture, x, y, line, text, floor: high - bottom, top };
  };

  /* The value of the horizontal axis under the pointer, from a picture drawn `wide` pixels wide. */
  const under = (event, picture) => {
    const box = picture.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * picture.viewBox.baseVal.width) / box.width, y: ((event.clientY - box.top) * picture.viewBox.baseVal.height) / box.height };
  };

  const figures = {
    /* A code, its slices, and what each regularizer does to it. */
    code(data, controls, stage, told) {
      const most = data.pull.length - 1;
      const typed = html("input", { type: "number", min: 0, max: most, value: data.start });
      const [dragged, drag] = slider("or drag", 0, most, data.start, (code) => code.toString(2).padStart(data.bits, "0"));
      const [priced, price] = slider("price of a slice", 0, data.prices.length - 1, data.price, (k) => short(data.prices[k]));
      const cells = html("div", { class: "cells" });
      controls.append(html("label", {}, "code of |w| ", typed), dragged, priced);
      stage.before(cells);
      const set = (code) => {
        typed.value = drag.value = Math.min(most, Math.max(0, Math.round(code) || 0));
        typed.dispatchEvent(new Event("input", { bubbles: true }));
      };
      drag.addEventListener("input", () => (typed.value = drag.value));
      typed.addEventListener("input", () => typed.value && (drag.value = typed.value));
      typed.addEventListener("change", () => (typed.value = drag.value));
      return (wide) => {
        const code = +drag.value;
        const word = code.toString(2).padStart(data.bits, "0");
        const size = data.cell_bits;
        cells.replaceChildren(...range(data.bits / size).map((place) => {
          const digits = word.slice(size * place, size * place + size);
          const k = data.bits / size - 1 - place;
          return html("span", { "data-slice": `B${k}`, class: +digits ? "set" : "" }, html("b", {}, `B${k}`), ` ${digits} = ${parseInt(digits, 2)}`);
        }));
        const plot = axes(wide, { x: [0, most], y: [0, 1.5], xTicks: [0, 64, 128, 192, most], xLabel: "code of |w|", yLabel: "pull towards 0 a code step: bit-slice L1, dashed L1", name: `Pull of bit-slice L1 on every code, and of L1; code ${code} is marked` }, 220);
        const path = data.pull.map((pull, c) => `${c ? "H" : "M"}${plot.x(c - (c ? 0.5 : 0))} ${c ? "V" : ""}${plot.y(pull)}`).join("");
        plot.picture.append(svg("path", { d: path, class: "curve", stroke: data.colours.bl1 }));
        plot.picture.append(svg("line", { x1: plot.x(0), x2: plot.x(most), y1: plot.y(1), y2: plot.y(1), class: "curve dashed", stroke: data.colours.l1 }));
        plot.line(plot.x(code), plot.top, plot.x(code), plot.floor, "cursor");
        plot.picture.append(svg("circle", { cx: plot.x(code), cy: plot.y(data.pull[code]), r: 5, fill: data.colours.bl1 }));
        const move = (event) => { if (event.buttons) set(((under(event, plot.picture).x - plot.x(0)) / (plot.x(most) - plot.x(0))) * most); };
        plot.picture.addEventListener("pointerdown", move);
        stage.onpointermove = move;
        stage.replaceChildren(plot.picture);
        const terms = range(data.bits / size).filter((k) => (code >> (size * k)) % 2 ** size).map((k) => (k ? `1/${2 ** (size * k)}` : "1"));
        const kept = data.stored[price.value][code];
        const row = (name, ...cells) => html("tr", {}, html("th", { scope: "row" }, name), ...cells.map((cell) => html("td", {}, cell)));
        told.replaceChildren(html("table", {},
          row("L1", `pulls by ${code ? 1 : 0}`),
          row("Bit-slice L1", `pulls by ${short(data.pull[code])}${terms.length > 1 ? ` = ${terms.join(" + ")}` : ""}; slices add up to ${data.value[code]}`),
          row("Bit-slice L0", kept === code ? `stores ${code} as it is` : `stores ${kept} in its place`)));
      };
    },

    /* Bitline sums of a network against the levels of an ADC (the transfer function of bitslice.crossbar.Adc). */
    sums(data, controls, stage, told) {
      const [slices, slice] = choice("Slice", Object.keys(data.counts), Object.keys(data.counts)[0]);
      const [first, bits] = slider("ADC bits", 1, 9, 3);
      const [second, step] = slider("step", 0, 6, 0, (k) => String(2 ** k));
      controls.append(slices, first, second);
      return (wide) => {
        const counts = data.counts[slice()];
        const size = 2 ** step.value;
        const full = (2 ** bits.value - 1) * size;
        const all = counts.reduce((total, count) => total + count, 0);
        let [clipped, error, square, most] = [0, 0, 0, 0];
        counts.forEach((count, sum) => {
          const off = Math.min(full, size * Math.floor((sum + (size >> 1)) / size)) - sum;
          if (sum > full) clipped += count;
          if (count) most = sum;
          error += (off * count) / all;
          square += (off * off * count) / all;
        });
        const end = Math.max(most, 8);
        const least = Math.min(...counts.filter((count) => count)) / all / 2;
        const ticks = range(Math.floor(end / 2 ** Math.max(0, Math.ceil(Math.log2(end / 8)))) + 1).map((k) => k * 2 ** Math.max(0, Math.ceil(Math.log2(end / 8))));
        const said = `${percent(clipped / all)} of conversions are clipped`;
        const plot = axes(wide, { x: [-0.5, end + 0.5], y: [least, 1], log: true, xTicks: ticks, xLabel: "bitline sum", yLabel: "share of conversions", name: `Bitline sums of slice ${slice()} up to ${most}; an ADC with levels up to ${full}: ${said}` });
        const gap = (plot.x(1) - plot.x(0)) * (end > 60 ? 1 : 0.85);
        counts.forEach((count, sum) => {
          if (count) plot.picture.append(svg("rect", { x: plot.x(sum) - gap / 2, width: gap, y: plot.y(count / all), height: plot.floor - plot.y(count / all), fill: data.colours[slice()] || "#777777", class: sum > full ? "beyond" : "" }));
        });
        if (full < end) plot.line(plot.x(full + 0.5), plot.top, plot.x(full + 0.5), plot.floor, "cursor");
        for (let level = 0; level <= Math.min(full, end); level += size) plot.line(plot.x(level), plot.floor - 5, plot.x(level), plot.floor + 5, "level");
        stage.replaceChildren(plot.picture);
        told.textContent = `Levels 0 to ${full}${size > 1 ? ` in steps of ${size}` : ""}: ${said}; mean error ${short(error)}, root mean square ${short(Math.sqrt(square))} cell levels. Largest sum ${most}.`;
      };
    },

    /* Accuracy against the energy of ADCs; a mark a run and setting. */
    energy(data, controls, stage, told) {
      const [panels, panel] = choice("Network", Object.keys(data.panels), Object.keys(data.panels)[0]);
      const marks = ({ reports, settings, runs }) => runs.flatMap(([record, method, found]) => found.map(([place, accuracy]) => {
        const [file, [adc, energy]] = [record.split("/").pop(), settings[place]];
        return { record, report: `${reports}/${file}`, run: file.replace(".json", ""), method, adc, energy, accuracy };
      })).sort((a, b) => a.energy - b.energy || a.accuracy - b.accuracy);
      let points = [];
      const [label, pick] = slider("mark", 0, 0, 0, (k) => `${k + 1}`);
      const legend = html("div", { class: "legend" }, ...Object.values(data.methods).map(({ title, colour }) => html("span", {}, html("i", { style: `background:${colour}` }), ` ${title}`)));
      controls.append(panels, label);
      stage.after(legend);
      let shown = "";
      return (wide) => {
        if (shown !== panel()) {
          points = marks(data.panels[(shown = panel())]);
          pick.max = points.length - 1;
          pick.value = points.findLastIndex((point) => point.adc === data.first);
          pick.tell();
        }
        const energies = points.map((point) => point.energy);
        const [low, high] = [Math.min(...energies), Math.max(...energies)];
        const edge = (high - low) / 30;
        const floor = Math.floor(Math.min(...points.map((point) => point.accuracy)) / 10) * 10;
        const unit = 10 ** Math.floor(Math.log10(high - low));
        const ticks = range(12).map((k) => (Math.ceil(low / unit) + k) * unit).filter((value) => value <= high);
        const plot = axes(wide, { x: [low - edge, high + edge], y: [floor, 100], xTicks: ticks, yTicks: range(11).map((k) => 10 * k).filter((value) => value >= floor), xLabel: `energy of the ADCs (${data.unit} an image)`, yLabel: "test accuracy (%)", name: `${points.length} networks with ADCs: accuracy against energy` }, 300);
        points.forEach((point, k) => plot.picture.append(svg("circle", { cx: plot.x(point.energy), cy: plot.y(point.accuracy), r: 4, fill: data.methods[point.method].colour, class: "mark", onclick: () => choose(k) })));
        const choose = (k) => { pick.value = k; pick.dispatchEvent(new Event("input", { bubbles: true })); };
        const nearest = (event) => {
          const at = under(event, plot.picture);
          const far = (point) => Math.hypot(plot.x(point.energy) - at.x, plot.y(point.accuracy) - at.y);
          const best = points.reduce((found, point, k) => (far(point) < far(points[found]) ? k : found), 0);
          if (far(points[best]) < 12 && best !== +pick.value) choose(best);
        };
        plot.picture.addEventListener("pointermove", nearest);
        plot.picture.addEventListener("pointerdown", nearest);
        const point = points[pick.value];
        const [x, y] = [plot.x(point.energy), plot.y(point.accuracy)];
        plot.picture.append(svg("circle", { cx: x, cy: y, r: 8, class: "chosen" }));
        const tip = html("div", { class: "tip" },
          html("b", {}, `${data.methods[point.method].title}, ${point.run}`), html("br"),
          `ADCs ${point.adc}: ${point.accuracy.toFixed(2)}%, ${short(point.energy)} ${data.unit}`, html("br"),
          html("a", { href: point.record }, "record"), " · ", html("a", { href: point.report }, "simulation"));
        const frame = html("div", { class: "frame" }, plot.picture, tip);
        stage.replaceChildren(frame);
        tip.style.left = `${Math.max(0, Math.min(x + 12, wide - tip.offsetWidth - 2))}px`;
        tip.style.top = `${y + 12 + tip.offsetHeight > 300 ? y - tip.offsetHeight - 12 : y + 12}px`;
        told.textContent = `${point.run} with ADCs of ${point.adc} bits: ${point.accuracy.toFixed(2)}%, ${short(point.energy)} ${data.unit} an image`;
        pick.setAttribute("aria-valuetext", told.textContent);
      };
    },

    /* What one ADC saves, by cost model. */
    costs(data, controls, stage, told) {
      const [kinds, kind] = choice("Saving in", Object.keys(data.laws), Object.keys(data.laws)[0]);
      const [first, bits] = slider("bits", 1, data.most, data.bits);
      const [second, reference] = slider("against", 1, data.most, data.reference);
      controls.append(kinds, first, second);
      return (wide) => {
        const curves = Object.entries(data.laws[kind()]).map(([name, law]) => {
          const base = law[reference.value - 1];
          return { ...data.models[name], savings: law.map((value) => (value && base ? base / value : null)) };
        }).filter((curve) => curve.savings.some((saving) => saving));
        const every = curves.flatMap((curve) => curve.savings.filter((saving) => saving));
        const plot = axes(wide, { x: [0.7, data.most + 0.3], y: [Math.min(...every, 0.5) / 1.3, 1.3 * Math.max(...every, 2)], log: true, xTicks: range(data.most).map((k) => k + 1), xLabel: "ADC resolution (bits)", yLabel: `saving against ${reference.value} bits (x)`, name: `Saving in ${kind()} by resolution, ${curves.length} models` }, 300);
        plot.line(plot.x(+bits.value), plot.top, plot.x(+bits.value), plot.floor, "cursor");
        for (const { savings, colour } of curves) {
          const points = savings.map((saving, k) => saving && [plot.x(k + 1), plot.y(saving)]).filter(Boolean);
          plot.picture.append(svg("polyline", { points: points.join(" "), class: "curve", stroke: colour }));
          for (const [cx, cy] of points) plot.picture.append(svg("circle", { cx, cy, r: 3, fill: colour }));
        }
        const choose = (event) => {
          const near = Math.round(1 + ((under(event, plot.picture).x - plot.x(1)) / (plot.x(data.most) - plot.x(1))) * (data.most - 1));
          if (event.buttons && near >= 1 && near <= data.most) { bits.value = near; bits.dispatchEvent(new Event("input", { bubbles: true })); }
        };
        plot.picture.addEventListener("pointerdown", choose);
        stage.onpointermove = choose;
        stage.replaceChildren(plot.picture);
        const here = curves.map((curve) => [curve, curve.savings[bits.value - 1]]).filter(([, saving]) => saving).sort((a, b) => b[1] - a[1]);
        told.replaceChildren(html("table", {}, html("caption", {}, `${bits.value} bits against ${reference.value}: saving in ${kind()}`),
          ...here.map(([curve, saving]) => html("tr", {}, html("th", { scope: "row" }, html("i", { style: `background:${curve.colour}` }), ` ${curve.title}`), html("td", {}, `${short(saving)}x`)))));
      };
    },
  };

  const start = (root) => {
    const data = JSON.parse(root.querySelector("script").textContent);
    const controls = html("form", { class: "controls" });
    const [stage, told] = [html("div", { class: "stage" }), html("div", { class: "told", "aria-live": "polite" })];
    controls.addEventListener("submit", (event) => event.preventDefault());
    root.append(controls, stage, told);
    const paint = figures[root.dataset.kind](data, controls, stage, told);
    const draw = () => {
      for (const input of controls.querySelectorAll("input[type=range]")) input.tell();
      if (root.clientWidth) paint(Math.min(root.clientWidth, 800));
    };
    controls.addEventListener("input", draw);
    let width = root.clientWidth;
    new ResizeObserver(() => width !== root.clientWidth && ((width = root.clientWidth), draw())).observe(root);
    draw();
    const printed = root.parentElement.querySelector("details.printed");
    printed.open = false;
    addEventListener("beforeprint", () => (printed.open = true));
  };

  addEventListener("DOMContentLoaded", () => document.querySelectorAll("div.touch").forEach(start));
})();
