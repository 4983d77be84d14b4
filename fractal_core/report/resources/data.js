"use strict";
// The listed responses, as the page carries them: a column a list, the sentences of all responses one after the other.
const data = JSON.parse(document.getElementById("data").textContent);
const responses = data.responses;
const sentences = data.sentences;
const total = responses.id.length;
// Place of each response's first sentence; one more at the end.
const firstSentence = new Int32Array(total + 1);
responses.sentences.forEach((count, at) => { firstSentence[at + 1] = firstSentence[at] + count; });
const SHADES = 7;

function shadeOf(score) {
  const share = (score - data.scale.low) / (data.scale.high - data.scale.low);
  return Math.min(Math.max(Math.floor(share * SHADES), 0), SHADES - 1);
}

// Three decimals, or as many as a narrow range of scores needs.
const DECIMALS = Math.max(3, 3 - Math.floor(Math.log10(data.scale.high - data.scale.low)));

// What was computed: with as many decimals as its neighbours.
function measured(value) {
  if (value === null) return "–";
  return value.toFixed(Math.abs(value) < 10 ? DECIMALS : 1).replace("-", "−");
}

// What was given, or is in the unit of what was given.
function exact(value) {
  return value === null ? "–" : String(value).replace("-", "−");
}

function shownValue(name, sentence) {
  return (name === "score" || name === "posterior" ? measured : exact)(sentences[name][sentence]);
}

function signed(value) {
  return value > 0 ? "+" + measured(value) : measured(value);
}

// All texts reach the page through here, as text and never as markup.
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) made[key] = value;
  made.append(...children);
  return made;
}
