// What is known of a sentence, beside it: while it is pointed at or has the focus, until Escape.
const tip = document.getElementById("tip");
let described = null;
let leaving = 0;

function responseOf(sentence) {
  let low = 0;
  let high = total;
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (firstSentence[middle] <= sentence) low = middle; else high = middle;
  }
  return low;
}

function pairs(kind, entries) {
  const list = element("dl", { className: kind });
  for (const [name, value] of entries) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

function reasonsOf(sentence) {
  if (!data.reasons) return [];
  const found = [];
  const ranks = data.reasons.feature.length / sentences.score.length;
  for (let at = sentence * ranks; at < (sentence + 1) * ranks; at += 1) {
    const feature = data.reasons.feature[at];
    if (feature >= 0) found.push([data.reasons.names[feature].replaceAll("_", " "), signed(data.reasons.contribution[at])]);
  }
  return found;
}

function fillTip(sentence) {
  const at = responseOf(sentence);
  const known = [["score", "score"], ["posterior", "posterior"], ["pseudo-label", "pseudolabel"]];
  if (sentences.gold[sentence] !== null) known.push(["gold label", "gold"]);
  const place = sentence - firstSentence[at] + 1;
  tip.replaceChildren(element("p", {}, "Sentence " + place + " of " + responses.sentences[at]), pairs("main", known.map(([title, name]) => [title, shownValue(name, sentence)])));
  const priors = Object.entries(data.priors).filter(([, values]) => values[sentence] !== null);
  if (priors.length) tip.append(element("p", {}, "Priors"), pairs("many", priors.map(([name, values]) => [name.replaceAll("_", " "), measured(values[sentence])])));
  const reasons = reasonsOf(sentence);
  if (reasons.length) tip.append(element("p", {}, "What moved the score most, in log-odds"), pairs("few", reasons));
}

function placeTip() {
  if (!described) return;
  const [box] = described.getClientRects();
  if (!box || box.bottom < 0 || box.top > innerHeight) { tip.hidden = true; return; }
  tip.hidden = false;
  const below = box.bottom + 8;
  const fits = below + tip.offsetHeight < innerHeight || box.top < tip.offsetHeight + 8;
  // On a narrow screen it is a sheet at the lower edge, or at the upper one if the sentence is below.
  tip.classList.toggle("above", box.bottom > innerHeight / 2);
  tip.style.top = (fits ? below : box.top - tip.offsetHeight - 8) + "px";
  tip.style.left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8)) + "px";
}

function showTip(mark) {
  clearTimeout(leaving);
  if (described !== mark) {
    hideTip();
    described = mark;
    mark.classList.add("shown");
    mark.setAttribute("aria-describedby", "tip");
    fillTip(Number(mark.dataset.sentence));
  }
  placeTip();
}

function hideTip() {
  clearTimeout(leaving);
  if (described) {
    described.classList.remove("shown");
    described.removeAttribute("aria-describedby");
  }
  described = null;
  tip.hidden = true;
}

function leaveTip() {
  clearTimeout(leaving);
  // Time to move from the sentence into the details; then they are those of the sentence that has the focus, if any.
  leaving = setTimeout(() => {
    const focused = document.activeElement;
    if (focused && focused.localName === "mark" && focused.matches(":focus-visible")) showTip(focused); else hideTip();
  }, 150);
}

function watchSentences(list) {
  list.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("mark");
    if (mark) showTip(mark);
  });
  // A finger is lifted at once; what it has asked for stays until it touches something else.
  list.addEventListener("pointerout", (event) => { if (event.pointerType !== "touch") leaveTip(); });
  addEventListener("pointerdown", (event) => { if (!event.target.closest("mark, #tip")) hideTip(); });
  list.addEventListener("focusin", (event) => { if (event.target.localName === "mark") showTip(event.target); });
  list.addEventListener("focusout", leaveTip);
  tip.addEventListener("pointerenter", () => clearTimeout(leaving));
  tip.addEventListener("pointerleave", leaveTip);
  addEventListener("scroll", placeTip, { passive: true });
  addEventListener("resize", placeTip);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
}
