"use strict";
// Draws the network of the block `data` on a canvas. World axes are in mm: x right, y front, z head. The eye looks along
// the third axis of the turned world; what is nearest is drawn last.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("view");
  const tip = document.getElementById("tip");
  const tools = document.getElementById("tools");
  const paint = canvas.getContext("2d");
  // Rows: the world's directions on the screen to the right, up, and towards the eye.
  const VIEWS = {
    Right: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    Left: [[0, -1, 0], [0, 0, 1], [-1, 0, 0]],
    Front: [[-1, 0, 0], [0, 0, 1], [0, 1, 0]],
    Back: [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    Above: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    Below: [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
  };
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((v) => v / n); };

  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  const points = data.regions.map((r) => r.at).concat(...data.surfaces.map((s) => s.vertices));
  for (const p of points) for (let k = 0; k < 3; k++) { low[k] = Math.min(low[k], p[k]); high[k] = Math.max(high[k], p[k]); }
  const centre = low.map((v, k) => (v + high[k]) / 2);
  const reach = Math.max(10, ...points.map((p) => Math.hypot(...minus(p, centre))));

  const state = { rows: null, zoom: 1, least: 0, hidden: new Set() };
  const tilt = (angle, a, b) => {
    // Turns rows a and b about the third.
    const c = Math.cos(angle), s = Math.sin(angle), [p, q] = [state.rows[a], state.rows[b]];
    state.rows[a] = unit(p.map((v, k) => c * v + s * q[k]));
    state.rows[b] = unit(q.map((v, k) => c * v - s * p[k]));
  };
  const look = (name) => { state.rows = VIEWS[name].map((r) => r.slice()); draw(); };
  const turn = (dx, dy) => { tilt(dx, 0, 2); tilt(-dy, 1, 2); draw(); };

  let screen = [], width = 0, height = 0;
  function draw() {
    const ratio = window.devicePixelRatio || 1;
    width = canvas.clientWidth; height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    }
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);
    const scale = state.zoom * 0.48 * Math.min(width, height) / reach;
    const at = (p) => {
      const v = minus(p, centre), [r, u, e] = state.rows.map((row) => dot(row, v));
      return [width / 2 + r * scale, height / 2 - u * scale, e];
    };
    screen = data.regions.map((r) => at(r.at));
    const pieces = [];
    for (const s of data.surfaces) if (!state.hidden.has(s) && !s.glass) faces(s, at, pieces);
    for (const link of data.links) if (link.share >= state.least) strands(link, pieces);
    data.regions.forEach((r, i) => {
      const [x, y, depth] = screen[i];
      pieces.push([depth + 1, () => {
        paint.beginPath(); paint.arc(x, y, (r.linked ? 5 : 2.5) * Math.sqrt(state.zoom), 0, 2 * Math.PI);
        paint.fillStyle = r.linked ? "#222222" : "#9a9a9a"; paint.fill();
      }]);
    });
    pieces.sort((a, b) => a[0] - b[0]).forEach((p) => p[1]());
    for (const s of data.surfaces) if (!state.hidden.has(s) && s.glass) glass(s, at);
    compass();
  }

  function faces(surface, at, pieces) {
    const seen = surface.vertices.map(at);
    for (const [a, b, c] of surface.triangles) {
      const corners = [seen[a], seen[b], seen[c]];
      // The screen's second axis points down, so a face towards the eye runs clockwise in these numbers.
      const [p, q, r] = corners.map((v) => [v[0], -v[1], v[2]]);
      if ((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]) <= 0) continue;
      const light = 0.45 + 0.55 * Math.abs(facing(surface, a, b, c));
      const colour = `rgb(${surface.colour.map((v) => Math.round(v * light)).join(",")})`;
      pieces.push([(p[2] + q[2] + r[2]) / 3, () => {
        path(corners); paint.fillStyle = paint.strokeStyle = colour; paint.lineWidth = 0.7; paint.fill(); paint.stroke();
      }]);
    }
  }

  // How much a face looks at the eye: 1 straight, 0 from the side, below 0 away.
  function facing(surface, a, b, c) {
    const [p, q, r] = [a, b, c].map((i) => surface.vertices[i]);
    return dot(unit(cross(minus(q, p), minus(r, p))), state.rows[2]);
  }

  // Faces seen from the side are dense, as in a glass bell; those that look away are left out.
  function glass(surface, at) {
    const seen = surface.vertices.map(at);
    for (const [a, b, c] of surface.triangles) {
      const front = facing(surface, a, b, c);
      if (front <= 0) continue;
      path([seen[a], seen[b], seen[c]]);
      paint.fillStyle = `rgba(${surface.colour.join(",")},${(0.05 + 0.3 * (1 - front) ** 2).toFixed(3)})`;
      paint.fill();
    }
  }

  // A link in parts, so that it can pass in front of one thing and behind another.
  function strands(link, pieces) {
    const PARTS = 8, [p, q] = link.ends.map((i) => screen[i]);
    const along = (t) => p.map((v, k) => v + (q[k] - v) * t);
    for (let i = 0; i < PARTS; i++) {
      const from = along(i / PARTS), to = along((i + 1) / PARTS);
      pieces.push([(from[2] + to[2]) / 2, () => {
        paint.beginPath(); paint.moveTo(from[0], from[1]); paint.lineTo(to[0], to[1]);
        paint.strokeStyle = link.colour; paint.lineCap = "round";
        paint.lineWidth = (0.8 + 3.5 * link.share) * Math.sqrt(state.zoom); paint.stroke();
      }]);
    }
  }

  function path(corners) {
    paint.beginPath();
    corners.forEach((c, i) => (i ? paint.lineTo(c[0], c[1]) : paint.moveTo(c[0], c[1])));
    paint.closePath();
  }

  // Which way is right, front and head.
  function compass() {
    const x = 46, y = height - 46, ends = [["R", [1, 0, 0]], ["A", [0, 1, 0]], ["S", [0, 0, 1]]];
    paint.font = "13px sans-serif"; paint.textAlign = "center"; paint.textBaseline = "middle";
    paint.fillStyle = paint.strokeStyle = "#444444"; paint.lineWidth = 1.5;
    for (const [letter, axis] of ends) {
      const [r, u] = state.rows.map((row) => dot(row, axis));
      if (Math.hypot(r, u) < 0.2) continue;
      paint.beginPath(); paint.moveTo(x, y); paint.lineTo(x + 24 * r, y - 24 * u); paint.stroke();
      paint.fillText(letter, x + 35 * r, y - 35 * u);
    }
  }

  const zoom = (factor) => { state.zoom = Math.min(8, Math.max(0.4, state.zoom * factor)); draw(); };
  let held = null;
  canvas.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("pointermove", (e) => {
    if (held) {
      turn((e.clientX - held[0]) / 150, (e.clientY - held[1]) / 150);
      held = [e.clientX, e.clientY];
    }
    const x = e.offsetX, y = e.offsetY;
    let best = -1, distance = 10;
    screen.forEach((p, i) => { const d = Math.hypot(p[0] - x, p[1] - y); if (d < distance) { best = i; distance = d; } });
    tip.hidden = best < 0 || held !== null;
    if (!tip.hidden) {
      const shown = data.links.filter((l) => l.share >= state.least && l.ends.includes(best)).slice(-1)[0];
      const name = data.regions[best].name;
      tip.textContent = shown ? `${name} (largest ${data.weight} ${Number(shown.weight)})` : name;
      tip.style.left = `${Math.min(x + 14, width - 160)}px`; tip.style.top = `${y + 14}px`;
    }
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 600)); }, { passive: false });
  const KEYS = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
    "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15),
  };
  canvas.addEventListener("keydown", (e) => { if (KEYS[e.key]) { e.preventDefault(); KEYS[e.key](); } });

  const add = (parent, tag, set) => { const e = Object.assign(document.createElement(tag), set); parent.append(e); return e; };
  for (const name of Object.keys(VIEWS)) add(tools, "button", { type: "button", textContent: name, onclick: () => look(name) });
  for (const s of data.surfaces) {
    const label = add(tools, "label", {});
    add(label, "input", {
      type: "checkbox", checked: true,
      onchange: (e) => { e.target.checked ? state.hidden.delete(s) : state.hidden.add(s); draw(); },
    });
    label.append(s.name);
  }
  if (data.links.length) {
    const label = add(tools, "label", { textContent: `At least this share of the largest ${data.weight}` });
    add(label, "input", {
      type: "range", min: 0, max: 1, step: 0.01, value: 0, oninput: (e) => { state.least = Number(e.target.value); draw(); },
    });
  }
  state.rows = VIEWS.Right.map((r) => r.slice());
  tilt(0.6, 0, 2); tilt(-0.35, 1, 2);
  new ResizeObserver(draw).observe(canvas);
  draw();
})();
