"use strict";
// Shows a volume from its first layer on and puts better ones in its place. The server decodes; NiiVue draws.

const SAYS = {
  look: "a first look, thinned, slices between interpolated",
  region: "the region as stored, slices outside it interpolated",
  rest: "all slices as stored",
  exact: "the original, exact",
};
// Centre and width in HU, as scanners name them.
const PRESETS = [
  ["brain", 40, 80], ["soft tissue", 40, 400], ["abdomen", 60, 360], ["lung", -600, 1500], ["bone", 500, 2000],
  ["temporal bone", 700, 4000], ["all", null, null],
];
const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const nv = new niivue.Niivue({
  backColor: [0, 0, 0, 1], show3Dcrosshair: false, crosshairWidth: 0, isResizeCanvas: true, dragAndDropEnabled: false,
  logLevel: "warn", isNearestInterpolation: false, loadingText: "",
});
let token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
let running = 0;
let range = null; // lowest and highest shown, once somebody chose
let axis = 2;

async function ask(path) {
  const answer = await fetch(path, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
  if (answer.status === 401) {
    $("door").hidden = false;
    $("token").focus();
  }
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answers ${answer.status}`);
  return answer;
}

function say(text, partial) {
  $("layer").textContent = text;
  $("layer").classList.toggle("partial", Boolean(partial));
}

async function body(answer, passed) {
  const whole = Number(answer.headers.get("x-volume-bytes")) || 0;
  const out = new Uint8Array(whole);
  let at = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > whole) throw new Error("the server sends more than it said");
    out.set(value, at);
    at += value.length;
    passed(whole ? at / whole : 0);
  }
  if (at !== whole) throw new Error("the image came cut short");
  return out.buffer;
}

const path = (name) => name.split("/").map(encodeURIComponent).join("/");

async function show(name) {
  const mine = ++running;
  range = null;
  try {
    const plan = await (await ask(`plan/${path(name)}`)).json();
    const steps = [...new Set(plan.spans.map((span) => span[2]))].sort().map((n) => Object.keys(SAYS)[n]);
    for (let n = 1; n <= steps.length; n++) {
      const before = n === 1 ? "" : `layer ${n - 1} of ${steps.length}: ${SAYS[steps[n - 2]]}; `;
      say(`${before}layer ${n} is coming`, true);
      const answer = await ask(`volume/${path(name)}.nii?layer=${n}`);
      const buffer = await body(answer, (share) => { if (mine === running) $("progress").value = share; });
      if (mine !== running) return;
      await put(buffer, n === 1);
      document.body.dataset.layer = String(n);
      document.body.dataset.layers = String(steps.length);
      say(`layer ${n} of ${steps.length}: ${SAYS[steps[n - 1]]}`, n < steps.length);
    }
  } catch (error) {
    if (mine === running) say(error.message, true);
  }
}

// A new volume in the place of the old one, at the same point in millimetres and with the same window.
async function put(buffer, first) {
  const held = nv.volumes[0];
  const mm = held && !first ? Array.from(nv.frac2mm(nv.scene.crosshairPos)).slice(0, 3) : null;
  await nv.loadFromArrayBuffer(buffer, "volume.nii");
  if (held) nv.removeVolume(held);
  if (mm) nv.scene.crosshairPos = nv.mm2frac(mm);
  else nv.scene.crosshairPos = [0.5, 0.5, 0.5];
  if (first) range = guess(nv.volumes[0]);
  window_(...range);
  told();
}

// Lowest and highest real value. NiiVue's own leaves what it takes for background out.
function extent(volume) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of volume.img) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const { scl_slope: slope, scl_inter: inter } = volume.hdr;
  const ends = [low * (slope || 1) + inter, high * (slope || 1) + inter];
  return low <= high ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
}

// A CT is told by its air; everything else is shown from its darkest to its brightest.
function guess(volume) {
  const [low, high] = extent(volume);
  return low <= -900 && high > 200 ? [-160, 240] : [volume.robust_min, volume.robust_max];
}

function window_(low, high) {
  const volume = nv.volumes[0];
  if (!volume) return;
  range = [low, high];
  volume.cal_min = low;
  volume.cal_max = high;
  nv.updateGLVolume();
  $("level").value = Math.round((low + high) / 2);
  $("window").value = Math.round(high - low);
  document.body.dataset.window = `${low} ${high}`;
  PRESETS.forEach(([, centre, width], index) => {
    const on = centre !== null && low === centre - width / 2 && high === centre + width / 2;
    $("presets").children[index].setAttribute("aria-pressed", String(on));
  });
}

function preset(index) {
  const [, centre, width] = PRESETS[index];
  const volume = nv.volumes[0];
  if (!volume) return;
  if (centre === null) window_(...extent(volume));
  else window_(centre - width / 2, centre + width / 2);
}

function count() {
  return nv.volumes[0] ? nv.volumes[0].dimsRAS[axis + 1] : 1;
}

function here() {
  return Math.min(count() - 1, Math.max(0, Math.floor(nv.scene.crosshairPos[axis] * count())));
}

function go(slice) {
  const at = Math.min(count() - 1, Math.max(0, slice));
  const place = Array.from(nv.scene.crosshairPos);
  place[axis] = (at + 0.5) / count();
  nv.scene.crosshairPos = place;
  nv.drawScene();
  told();
}

function told() {
  $("slice").max = String(count() - 1);
  $("slice").value = String(here());
  $("where").textContent = `${here() + 1} of ${count()}`;
  document.body.dataset.slice = String(here());
}

function view(kind) {
  axis = [2, 1, 0, 2][kind];
  nv.setSliceType([nv.sliceTypeAxial, nv.sliceTypeCoronal, nv.sliceTypeSagittal, nv.sliceTypeMultiplanar][kind]);
  $("view").value = String(kind);
  told();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
  if (step) go(here() + step);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(count() - 1);
  else if (/^[1-7]$/.test(event.key)) preset(Number(event.key) - 1);
  else if (event.key === "v") view((Number($("view").value) + 1) % 4);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

async function list() {
  try {
    const { files } = await (await ask("files")).json();
    $("door").hidden = true;
    $("image").replaceChildren(...files.map(({ name }) => new Option(name, name)));
    const asked = new URLSearchParams(location.search).get("image");
    if (files.some(({ name }) => name === asked)) $("image").value = asked;
    if (files.length) await show($("image").value);
    else say("this folder holds no .ozx file");
  } catch (error) {
    say(error.message, true);
  }
}

async function start() {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search); // a token is not for the history
  PRESETS.forEach(([name], index) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => preset(index));
    $("presets").append(button);
  });
  document.addEventListener("keydown", keys, true);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    go(here() + (event.deltaY > 0 ? -1 : 1));
  }, { passive: false, capture: true });
  $("slice").addEventListener("input", () => go(Number($("slice").value)));
  $("view").addEventListener("change", () => view(Number($("view").value)));
  $("image").addEventListener("change", () => show($("image").value));
  for (const id of ["level", "window"]) {
    $(id).addEventListener("change", () => {
      const [level, width] = [Number($("level").value), Math.max(1, Number($("window").value))];
      window_(level - width / 2, level + width / 2);
    });
  }
  $("door").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value;
    list();
  });
  try {
    await nv.attachToCanvas(canvas);
  } catch (error) {
    say(`this browser cannot draw (WebGL 2 is needed): ${error.message}`, true);
    return;
  }
  nv.setSliceType(nv.sliceTypeAxial);
  nv.onLocationChange = told;
  await list();
}

start();
