"use strict";
/* The report's page: theme, copy buttons, charts, the sortable table, the documents behind a bar. Every value from outside
   goes into the page as text (textContent), never as markup. */
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  const number = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en");
    if (size < 1e-4) return value.toExponential(2).replace("-", "−");
    return value.toPrecision(4).replace(/\.?0+$/, "").replace("-", "−");
  };
  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
  const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  // Plotly reads some text as markup (<b>, <br>, entities). These characters become others in its labels.
  const label = (text) =>
    shortened(String(text), 60).replace(/[<>&]/g, (c) => ({ "<": "‹", ">": "›", "&": "＆" })[c]).replace(/[\u0000-\u001f]/g, "·");

  const table = (caption, header, rows) => {
    const head = make("tr", {}, ...header.map((h, i) => make("th", { scope: "col", class: i ? "n" : null }, h)));
    const body = rows.map((row) =>
      make("tr", {}, ...row.map((v, i) => (i ? make("td", { class: "n" }, v) : make("th", { scope: "row" }, v)))));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      make("table", {}, make("caption", { class: "unseen" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
  };

  // Charts are drawn when plotly is unpacked and they come near the screen, and again when the theme changes.
  const charts = new Map();
  let plotly = null;
  let paperWidth = null; // while printing, when charts cannot ask how wide they are

  const layout = (more) => {
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), tickcolor: css("--line"), automargin: true, fixedrange: true, exponentformat: "none", separatethousands: true };
    const given = more || {};
    return {
      ...given,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
      margin: { l: 8, r: 12, t: 12, b: 8, ...given.margin },
      xaxis: { ...axis, ...given.xaxis }, yaxis: { ...axis, ...given.yaxis },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } },
      dragmode: false, showlegend: Boolean(given.showlegend), ...(paperWidth ? { width: paperWidth } : {}),
    };
  };
  const LEGEND = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 };
  const title = (text, axis) => ({ title: { text, font: { size: 13 } }, ...axis });
  const draw = (id) => {
    const chart = charts.get(id);
    if (!plotly || !chart || !chart.isNear) return;
    const { traces, layout: more } = chart.figure();
    plotly.react($(id), traces, layout(more), { displayModeBar: false, responsive: true });
    if (chart.onClick && !chart.isBound) {
      $(id).on("plotly_click", (event) => chart.onClick(event.points[0].pointNumber));
      chart.isBound = true;
    }
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      charts.get(entry.target.id).isNear = true;
      draw(entry.target.id);
    }
  }, { rootMargin: "400px" });
  const chart = (id, figure, onClick) => {
    charts.set(id, { figure, onClick, isNear: false, isBound: false });
    near.observe($(id));
  };
  const drawAll = () => { for (const id of charts.keys()) draw(id); };
  const unpack = async () => {
    const raw = atob($("library").textContent);
    const packed = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) packed[i] = raw.charCodeAt(i);
    const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
    document.head.append(make("script", {}, source));
    $("library").remove();
    plotly = window.Plotly;
    drawAll();
    root.dataset.charts = "ready";
    performance.mark("charts");
  };

  const theme = () => {
    const button = $("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    try { chosen = localStorage.getItem("tagcorpus-theme"); } catch { /* a page from a file may have no storage */ }
    const set = () => {
      const isDark = chosen ? chosen === "dark" : system.matches;
      root.dataset.theme = isDark ? "dark" : "light";
      button.textContent = isDark ? "Light theme" : "Dark theme"; // the theme that a click brings
      button.hidden = false;
      drawAll();
    };
    button.addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("tagcorpus-theme", chosen); } catch { /* as above */ }
      set();
    });
    system.addEventListener("change", set);
    // On paper everything is light, and every chart is there.
    addEventListener("beforeprint", () => {
      root.dataset.theme = "light";
      paperWidth = 640;
      for (const one of charts.values()) one.isNear = true;
      drawAll();
    });
    addEventListener("afterprint", () => {
      paperWidth = null;
      set();
    });
    set();
  };

  // The clipboard is there on https and in files only, so that on plain http the text is selected and copied by command.
  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy") ? "Copied" : "Selected";
    }
  };
  const copyButtons = () => document.querySelectorAll(".shell .copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.textContent = await copy(button.parentElement.querySelector("code"));
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  });

  const entropy = (histograms) => histograms.forEach((one, i) => chart(`entropy-${i}`, () => {
    const last = Math.max(one.contexts.findLastIndex((n) => n), one.positions.findLastIndex((n) => n)) + 1;
    const line = (name, counts, color, dash) => {
      const all = counts.reduce((a, b) => a + b, 0) || 1;
      const shares = counts.slice(0, last).map((n) => (100 * n) / all);
      return {
        type: "scatter", mode: "lines", line: { shape: "hv", color, dash, width: 2 }, name,
        x: one.edges.slice(0, last + 1), y: [...shares, shares[last - 1]],
        text: shares.map((y, k) => `${number(one.edges[k])} to ${number(one.edges[k + 1])} bits: ${y.toFixed(2)} %`),
        hovertemplate: `%{text}<extra>${name}</extra>`,
      };
    };
    return {
      traces: [line("distinct contexts", one.contexts, css("--main"), "solid"), line("positions in the text", one.positions, css("--accent"), "dot")],
      layout: { showlegend: true, legend: LEGEND, margin: { t: 40 }, xaxis: title("entropy of the next token, bits", { rangemode: "tozero" }), yaxis: title("share", { ticksuffix: " %", rangemode: "tozero" }) },
    };
  }));

  const features = ({ features: all, documents }) => {
    let now = 0;
    let bar = 0;
    const barName = (f, i) => {
      if (f.kind === "number") return `${number(f.edges[i])} to ${number(f.edges[i + 1])}`;
      return f.kind === "whole" ? number(f.edges[i]) : f.labels[i];
    };
    const filled = (f) => f.counts.map((n, i) => (n ? i : -1)).filter((i) => i >= 0);
    const figure = () => {
      const f = all[now];
      const isLabel = f.labels.length > 0;
      const colors = f.counts.map((_, i) => (i === bar ? css("--accent") : css("--main")));
      const hover = f.counts.map((n, i) => `${label(barName(f, i))}: ${count(n, "document")}`);
      const log = $("feature-log").checked ? { type: "log", dtick: 1 } : { rangemode: "tozero" };
      const trace = { type: "bar", marker: { color: colors, line: { width: 0 } }, hovertext: hover, hoverinfo: "text" };
      if (isLabel) {
        const names = f.labels.map((l, i) => `${label(l)}${"\u200b".repeat(i)}`); // different, where they were cut to the same
        return {
          traces: [{ ...trace, orientation: "h", x: f.counts, y: names }],
          layout: { yaxis: { type: "category", autorange: "reversed", showgrid: false, ticksuffix: "  ", tickmode: "array", tickvals: names, ticktext: f.labels.map((l) => shortened(label(l), innerWidth < 640 ? 18 : 40)) }, xaxis: title("documents", log), bargap: 0.3 },
        };
      }
      const whole = f.kind === "whole";
      const x = whole ? f.edges : f.counts.map((_, i) => (f.edges[i] + f.edges[i + 1]) / 2);
      const width = whole ? 0.9 : 0.95 * (f.edges[1] - f.edges[0]);
      return {
        traces: [{ ...trace, x, y: f.counts, width }],
        layout: { xaxis: title(label(f.unit || f.column), whole && x.length < 15 ? { dtick: 1 } : {}), yaxis: title("documents", log), bargap: 0 },
      };
    };
    const showDocuments = () => {
      const f = all[now];
      const picked = f.documents[bar] || [];
      const box = $("documents");
      box.replaceChildren();
      if (!picked.length) box.append(make("p", {}, f.counts[bar] ? "None of this bar's documents are in the sample." : "No documents here."));
      for (const [at, value] of picked) {
        const d = documents[at];
        const shown = typeof value === "number" ? number(value) : String(value);
        const where = make("p", { class: "where" }, make("b", {}, make("bdi", {}, d.id)), ` · ${f.column} ${shown} · `, make("bdi", {}, d.input), `, row ${d.row.toLocaleString("en")}${d.sub ? `, document ${d.sub} of it` : ""}`);
        const article = make("article", {}, where);
        if (d.text == null) article.append(make("p", { class: "dim" }, `The text cannot be shown: ${d.problem}.`));
        else if (!d.chars) article.append(make("p", { class: "dim" }, "An empty document."));
        else {
          article.append(make("pre", { dir: "auto", tabindex: "0" }, d.text));
          if (d.chars > d.text.length) article.append(make("p", { class: "dim" }, `The first ${[...d.text].length.toLocaleString("en")} of ${d.chars.toLocaleString("en")} characters.`));
        }
        box.append(article);
      }
    };
    const showBar = () => {
      const f = all[now];
      const n = f.counts[bar] || 0;
      const share = f.stats.n ? (100 * n) / f.stats.n : 0;
      const line = `${barName(f, bar)}${f.labels.length || !f.unit ? "" : ` ${f.unit}`}: ${count(n, "document")} (${share < 0.1 && n ? "under 0.1" : share.toFixed(1)} %)`;
      $("feature-bar-label").textContent = line;
      $("feature-bar").setAttribute("aria-valuetext", line);
      const at = filled(f).indexOf(bar);
      if (at >= 0) $("feature-bar").value = at;
      showDocuments();
      draw("feature-chart");
    };
    const show = (i) => {
      now = i;
      const f = all[i];
      const bars = filled(f);
      bar = bars.reduce((best, k) => (f.counts[k] > f.counts[best] ? k : best), bars[0] ?? 0);
      $("feature-choice").value = String(i);
      document.querySelectorAll("[data-feature]").forEach((b) => b.setAttribute("aria-current", String(b.dataset.feature === String(i))));
      $("feature-meaning").textContent = `${f.instance}.${f.column}${f.unit ? ` (${f.unit})` : ""}: ${f.meaning || "no description"}.`;
      const names = { n: "n", missing: "missing", infinite: "infinite", mean: "mean", std: "standard deviation", min: "min", p1: "p1", p5: "p5", p25: "p25", p50: "median", p75: "p75", p95: "p95", p99: "p99", max: "max", true: "true", distinct: "different values" };
      $("feature-stats").replaceChildren(make("dl", { class: "stats" }, ...Object.entries(names).filter(([k]) => f.stats[k] != null).map(([k, name]) => make("div", {}, make("dt", {}, name), make("dd", {}, number(f.stats[k]))))));
      const caption = `Distribution of ${f.instance}.${f.column}: ${count(f.stats.n, "document")} in ${count(bars.length, "bar")}`;
      $("feature-chart").setAttribute("aria-label", caption);
      $("feature-chart").nextElementSibling.textContent = `${caption}. Choose a bar to see documents behind it.`;
      $("feature-table").replaceChildren(table(caption, [f.unit || "value", "documents"], bars.map((k) => [barName(f, k), number(f.counts[k])])));
      const slider = $("feature-bar");
      slider.max = String(Math.max(bars.length - 1, 0));
      slider.disabled = !bars.length;
      showBar();
    };
    $("feature-choice").addEventListener("change", (e) => show(Number(e.target.value)));
    $("feature-log").addEventListener("change", () => draw("feature-chart"));
    $("feature-bar").addEventListener("input", (e) => { bar = filled(all[now])[Number(e.target.value)]; showBar(); });
    document.querySelectorAll("[data-feature]").forEach((button) => button.addEventListener("click", () => {
      show(Number(button.dataset.feature));
      $("feature").scrollIntoView({ block: "start" });
      $("feature-choice").focus({ preventScroll: true });
    }));
    chart("feature-chart", figure, (i) => { bar = i; showBar(); });
    const isNumber = (f) => f.kind === "number" && f.stats.max > f.stats.min;
    show(Math.max(all.findIndex((f) => isNumber(f) && f.column === "num_tokens"), all.findIndex((f) => isNumber(f) && f.column === "char_len"), 0));
  };

  const models = ({ kind, columns, ids, rows, reasons, intervals, first, scatter: axes }) => {
    let shown = first.slice();
    let sorted = { column: -1, isDown: false };
    const passing = () => {
      const part = $("models-filter").value.trim().toLowerCase();
      const where = $("models-where").value;
      const limit = $("models-value").valueAsNumber;
      const isLeast = $("models-is").value === "ge";
      return ids.map((_, i) => i).filter((i) => {
        if (part && !ids[i].toLowerCase().includes(part)) return false;
        if (where === "" || Number.isNaN(limit)) return true;
        const value = rows[i][Number(where)];
        return value != null && (isLeast ? value >= limit : value <= limit);
      });
    };
    const byColumn = (a, b) => {
      const { column, isDown } = sorted;
      if (column < 0) return (isDown ? -1 : 1) * (ids[a] < ids[b] ? -1 : ids[a] > ids[b] ? 1 : 0);
      const [x, y] = [rows[a][column], rows[b][column]];
      if (x == null || y == null) return (x == null) - (y == null) || a - b; // missing values stay at the end
      return (isDown ? y - x : x - y) || a - b;
    };
    const sort = (column) => {
      sorted = { column, isDown: sorted.column === column ? !sorted.isDown : column >= 0 };
      head();
      body();
      $("models-table").querySelector(`button[data-column="${column}"]`).focus();
    };
    const head = () => {
      const cell = (column, name, title) => {
        const isIt = sorted.column === column;
        const button = make("button", { type: "button", "data-column": column, title }, name, make("span", { class: "arrow", "aria-hidden": "true" }, isIt ? (sorted.isDown ? "↓" : "↑") : ""));
        button.addEventListener("click", () => sort(column));
        return make("th", { scope: "col", class: column < 0 ? null : "n", "aria-sort": isIt ? (sorted.isDown ? "descending" : "ascending") : "none" }, button);
      };
      const cells = shown.map((c) => cell(c, columns[c].name, [columns[c].meaning, columns[c].unit].filter(Boolean).join(", ")));
      $("models-table").tHead.replaceChildren(make("tr", {}, cell(-1, kind, null), ...cells));
    };
    const body = () => {
      const order = passing().sort(byColumn);
      $("models-table").tBodies[0].replaceChildren(...order.map((i) => make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, ids[i])), ...shown.map((c) => {
        const value = rows[i][c];
        if (value != null) return make("td", { class: "n" }, number(value));
        const why = (reasons[ids[i]] || {})[columns[c].name];
        return make("td", { class: "n missing", title: why || "missing" }, make("span", { "aria-hidden": "true" }, "–"), make("span", { class: "unseen" }, why ? `missing: ${why}` : "missing"));
      }))));
      $("models-line").textContent = `${order.length.toLocaleString("en")} of ${count(ids.length, kind)}, ${shown.length} of ${count(columns.length, "column")}`;
      showRanking();
      showScatter();
    };
    const choice = () => {
      const groups = new Map();
      columns.forEach((c, i) => groups.set(c.group, [...(groups.get(c.group) || []), i]));
      const sets = [...groups].map(([name, own]) => make("fieldset", {}, make("legend", {}, name), ...own.map((i) => {
        const box = make("input", { type: "checkbox", value: i, checked: shown.includes(i) });
        box.addEventListener("change", () => {
          shown = [...$("models-choice").querySelectorAll("input:checked")].map((b) => Number(b.value)).sort((a, b) => a - b);
          head();
          body();
        });
        return make("label", {}, box, make("span", {}, columns[i].name));
      })));
      const all = (isAll) => {
        const button = make("button", { type: "button" }, isAll ? "All" : "Only the first");
        button.addEventListener("click", () => {
          shown = isAll ? columns.map((_, i) => i) : first.slice();
          $("models-choice").querySelectorAll("input").forEach((b) => { b.checked = shown.includes(Number(b.value)); });
          head();
          body();
        });
        return button;
      };
      $("models-choice").replaceChildren(all(true), " ", all(false), ...sets);
    };

    const has = Boolean($("scatter-chart"));
    const pairs = () => {
      const [x, y] = [Number($("scatter-x").value), Number($("scatter-y").value)];
      return passing().filter((i) => rows[i][x] != null && rows[i][y] != null).map((i) => ({ i, x: rows[i][x], y: rows[i][y] }));
    };
    const ranks = (values) => {
      const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
      const ranked = new Array(values.length);
      for (let i = 0; i < order.length;) {
        let j = i;
        while (j + 1 < order.length && values[order[j + 1]] === values[order[i]]) j += 1;
        for (let k = i; k <= j; k += 1) ranked[order[k]] = (i + j) / 2;
        i = j + 1;
      }
      return ranked;
    };
    const correlation = (xs, ys) => {
      const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;
      const [mx, my] = [mean(xs), mean(ys)];
      const sum = (f) => xs.reduce((total, _, i) => total + f(xs[i] - mx, ys[i] - my), 0);
      const size = Math.sqrt(sum((a) => a * a) * sum((_, b) => b * b));
      return size > 0 ? sum((a, b) => a * b) / size : null;
    };
    const group = (id) => (id.includes("/") ? id.split("/")[0] : "");
    const scatter = () => {
      const points = pairs();
      const names = [columns[Number($("scatter-x").value)], columns[Number($("scatter-y").value)]];
      const sizes = new Map();
      ids.forEach((id) => sizes.set(group(id), (sizes.get(group(id)) || 0) + 1));
      const largest = [...sizes].filter(([g, n]) => g && n > 1).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 5).map(([g]) => g);
      const isDark = root.dataset.theme === "dark";
      const palette = isDark ? ["#56b4e9", "#f0a030", "#3ccba4", "#e79fc9", "#f0e442"] : ["#0072b2", "#c04f00", "#00795c", "#b05088", "#8a6d00"];
      const symbols = ["circle", "diamond", "square", "triangle-up", "cross"];
      const traces = [...largest, null].map((g, k) => {
        const own = points.filter((p) => (g === null ? !largest.includes(group(ids[p.i])) : group(ids[p.i]) === g));
        return {
          type: "scatter", mode: "markers", name: g === null ? (largest.length ? "others" : `${kind}s`) : label(g),
          x: own.map((p) => p.x), y: own.map((p) => p.y), text: own.map((p) => label(ids[p.i])),
          marker: { size: 9, opacity: 0.85, color: g === null ? (largest.length ? css("--dim") : css("--main")) : palette[k], symbol: g === null ? (largest.length ? "circle-open" : "circle") : symbols[k], line: { width: g === null && largest.length ? 1.5 : 0 } },
          hovertemplate: "%{text}<br>%{x:.4~g}, %{y:.4~g}<extra></extra>",
        };
      }).filter((t) => t.x.length);
      const axis = (c, isLog) => title(label(c.unit && c.unit !== c.name ? `${c.name} (${c.unit})` : c.name), { type: isLog ? "log" : "linear", zeroline: false });
      return {
        traces,
        layout: { showlegend: largest.length > 0, legend: LEGEND, margin: { t: largest.length ? 44 : 12 }, xaxis: axis(names[0], $("scatter-logx").checked), yaxis: axis(names[1], $("scatter-logy").checked) },
      };
    };
    const showScatter = () => {
      if (!has) return;
      const points = pairs();
      const [x, y] = [columns[Number($("scatter-x").value)].name, columns[Number($("scatter-y").value)].name];
      const rho = points.length > 2 ? correlation(ranks(points.map((p) => p.x)), ranks(points.map((p) => p.y))) : null;
      const left = passing().length - points.length;
      const line = `${count(points.length, kind)} with both values${left ? `, ${left} without` : ""}${rho == null ? "" : `; Spearman's rank correlation ${rho.toFixed(2).replace("-", "−")}`}. The filter above counts here, too.`;
      $("scatter-line").textContent = line;
      $("scatter-chart").setAttribute("aria-label", `${y} against ${x}: ${line}`);
      $("scatter-table").replaceChildren(table(`${y} against ${x}`, [kind, x, y], points.map((p) => [ids[p.i], number(p.x), number(p.y)])));
      draw("scatter-chart");
    };

    const ranked = () => {
      const c = Number($("ranking-column").value);
      const own = intervals[c] || [];
      return passing().filter((i) => rows[i][c] != null).sort((a, b) => rows[b][c] - rows[a][c] || a - b)
        .map((i) => ({ id: ids[i], value: rows[i][c], low: own[i] ? own[i][0] : null, high: own[i] ? own[i][1] : null }));
    };
    const rankingHeight = (order) => 80 + 19 * Math.max(order.length, 2);
    const ranking = () => {
      const c = columns[Number($("ranking-column").value)];
      const order = ranked();
      const names = order.map((r, k) => `${label(r.id)}${"\u200b".repeat(k)}`);
      const isPhone = innerWidth < 640;
      return {
        traces: [{
          type: "scatter", mode: "markers", y: names, x: order.map((r) => r.value), marker: { size: 8, color: css("--main") },
          error_x: { type: "data", symmetric: false, array: order.map((r) => (r.high == null ? 0 : r.high - r.value)), arrayminus: order.map((r) => (r.low == null ? 0 : r.value - r.low)), color: css("--main"), thickness: 1.3, width: 0 },
          text: order.map((r) => `${label(r.id)}: ${number(r.value)}${r.low == null ? "" : ` (${number(r.low)} to ${number(r.high)})`}`), hovertemplate: "%{text}<extra></extra>",
        }],
        layout: {
          height: rankingHeight(order), xaxis: title(isPhone ? "" : label(c.unit && c.unit !== c.name ? `${c.name} (${c.unit})` : c.name), { zeroline: false, side: "top" }),
          yaxis: { type: "category", range: [order.length - 0.4, -0.6], ticksuffix: "  ", tickmode: "array", tickvals: names, ticktext: order.map((r) => shortened(label(r.id), isPhone ? 18 : 44)), tickfont: { size: 12 } },
        },
      };
    };
    const showRanking = () => {
      if (!has) return;
      const c = Number($("ranking-column").value);
      const order = ranked();
      const line = `${columns[c].name} of ${count(order.length, kind)}, highest first${order.some((r) => r.low != null) ? ", with 95 % intervals" : ""}`;
      $("ranking-chart").setAttribute("aria-label", line);
      $("ranking-chart").nextElementSibling.textContent = `${line}. The filter above counts here, too.`;
      $("ranking-chart").style.height = `${rankingHeight(order)}px`;
      $("ranking-table").replaceChildren(table(line, [kind, columns[c].name, "from", "to"], order.map((r) => [r.id, number(r.value), number(r.low), number(r.high)])));
      draw("ranking-chart");
    };

    columns.forEach((c, i) => {
      $("models-where").append(make("option", { value: i }, c.name));
      if (has) for (const id of ["ranking-column", "scatter-x", "scatter-y"]) $(id).append(make("option", { value: i }, c.name));
    });
    if (has) {
      $("scatter-x").value = String(axes[0]);
      $("scatter-y").value = String(axes[1]);
      for (const id of ["scatter-x", "scatter-y", "scatter-logx", "scatter-logy"]) $(id).addEventListener("change", showScatter);
      $("ranking-column").value = String(axes[0]);
      $("ranking-column").addEventListener("change", showRanking);
      $("ranking-chart").setAttribute("tabindex", "0"); // because it scrolls
      chart("ranking-chart", ranking);
      chart("scatter-chart", scatter);
    }
    for (const id of ["models-filter", "models-where", "models-is", "models-value"]) $(id).addEventListener("input", body);
    choice();
    head();
    body();
  };

  theme();
  copyButtons();
  if (data.entropy) entropy(data.entropy);
  if (data.features) features(data.features);
  if (data.models) models(data.models);
  const begin = () => unpack().catch((error) => {
    document.querySelectorAll(".chart").forEach((c) => c.replaceChildren("This browser cannot draw the charts. The tables below have the same numbers."));
    root.dataset.charts = `failed: ${error}`;
  });
  // Plotly starts slowly, so it starts after the page is shown.
  if (charts.size) setTimeout(() => requestAnimationFrame(() => setTimeout(begin, 0)), 0);
  else root.dataset.charts = "ready";
})();
