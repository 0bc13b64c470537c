// What shapes the distribution before a token is drawn: the formulas of minillm/generation/warpers.py
// and logits_processors.py, and the draw of sampling.py, with the same types at each step. A test holds
// them equal to the library for random settings. Nothing here touches the page.

const f32 = Math.fround;
export const TOP_H_CANDIDATES = 100;

// name, its neutral value, and the values of its control; in the order in which they apply
export const FILTERS = [
  {name: "repetition_penalty", off: 1, min: 0.5, max: 2, step: 0.05},
  {name: "no_repeat_ngram_size", off: 0, min: 0, max: 5, step: 1},
  {name: "temperature", off: 1, min: 0.1, max: 2, step: 0.05},
  {name: "top_h", off: 0, min: 0, max: 1, step: 0.02, none: true},
  {name: "top_k", off: 0, min: 0, max: 100, step: 1},
  {name: "top_p", off: 1, min: 0.02, max: 1, step: 0.02},
  {name: "min_p", off: 0, min: 0, max: 0.5, step: 0.01, none: true},
  {name: "typical_p", off: 1, min: 0.02, max: 1, step: 0.02},
  {name: "epsilon_cutoff", off: 0, min: 0, max: 0.05, step: 0.001},
  {name: "eta_cutoff", off: 0, min: 0, max: 0.05, step: 0.001},
];

function largest(x) {
  let most = -Infinity;
  for (let i = 0; i < x.length; i++) if (x[i] > most) most = x[i];
  return most;
}

// e^(s - max) / Σ, in float64
export function softmax(scores) {
  const most = largest(scores), p = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < p.length; i++) total += (p[i] = Math.exp(scores[i] - most));
  for (let i = 0; i < p.length; i++) p[i] /= total;
  return p;
}

// the same in float32, as NumPy computes it from float32
function softmax32(scores) {
  const most = largest(scores), p = new Float32Array(scores.length);
  let total = 0;
  for (let i = 0; i < p.length; i++) total += (p[i] = Math.exp(f32(scores[i] - most)));
  total = f32(total);
  for (let i = 0; i < p.length; i++) p[i] /= total;
  return p;
}

// H = -Σ p log p, in nats
export function entropy(p) {
  let h = 0;
  for (const each of p) if (each > 0) h -= each * Math.log(each);
  return h;
}

// -> indices by falling score, the first of equals first
export function byScore(scores) {
  return Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);
}

// -> the indices of the k highest scores, without sorting all of them; those of -inf come last
export function highest(scores, k) {
  if (k >= scores.length) return byScore(scores);
  const least = Float32Array.from(scores).sort()[scores.length - k], found = [];
  for (let i = 0; i < scores.length; i++) if (scores[i] >= least) found.push(i);
  return found.sort((a, b) => scores[b] - scores[a] || a - b).slice(0, k);
}

export const formulas = {
  // s / penalty where s > 0, else s * penalty, for every token that occurs in ids
  repetition_penalty(scores, penalty, ids) {
    const out = scores.slice(), by = f32(penalty);
    for (const id of new Set(ids)) out[id] = scores[id] < 0 ? f32(scores[id] * by) : f32(scores[id] / by);
    return out;
  },
  // -inf for every token that would complete an n-gram that already occurs in ids
  no_repeat_ngram_size(scores, n, ids) {
    const out = scores.slice(), T = ids.length;
    for (let start = 0; start + n <= T; start++) {
      let same = true;
      for (let k = 0; k < n - 1 && same; k++) same = ids[start + k] === ids[T - n + 1 + k];
      if (same) out[ids[start + n - 1]] = -Infinity;
    }
    return out;
  },
  // s / t
  temperature(scores, t) {
    const by = f32(t);
    return scores.map(s => f32(s / by));
  },
  // the likeliest tokens whose terms -p log p add up to h H at most; p and H of the 100 likeliest
  top_h(scores, h) {
    const order = highest(scores, TOP_H_CANDIDATES);
    const terms = softmax(order.map(i => scores[i])).map(p => (p > 0 ? -p * Math.log(p) : 0));
    const bound = h * terms.reduce((a, b) => a + b, 0), out = new Float32Array(scores.length).fill(-Infinity);
    let sum = 0;
    order.forEach((token, i) => {
      sum += terms[i];
      if (i === 0 || sum <= bound) out[token] = scores[token];
    });
    return out;
  },
  // the k highest scores, and those equal to the k-th
  top_k(scores, k) {
    if (k >= scores.length) return scores.slice();
    const least = scores.slice().sort()[scores.length - k];
    return scores.map(s => (s < least ? -Infinity : s));
  },
  // the fewest tokens whose probabilities add up to p or more
  top_p(scores, p) {
    const falling = scores.filter(s => s > -Infinity).sort().reverse();
    if (!falling.length) return scores.slice();
    const probability = softmax(falling);
    let before = 0, size = 0;
    for (const each of probability) {
      const sum = before + each;
      if (sum - each < p) size++;
      before = sum;
    }
    const least = falling[Math.max(size, 1) - 1];
    return scores.map(s => (s < least ? -Infinity : s));
  },
  // at least p times the probability of the likeliest
  min_p(scores, p) {
    const probability = softmax32(scores), bound = f32(f32(p) * largest(probability));
    return cut(scores, probability, bound);
  },
  // the tokens whose -log p is nearest to H, until their probabilities add up to p
  typical_p(scores, p) {
    const probability = softmax(scores), most = largest(scores);
    let total = 0;
    for (const s of scores) total += Math.exp(s - most);
    const H = entropy(probability), log_total = most + Math.log(total);
    const distance = Float64Array.from(scores, s => Math.abs(log_total - s - H));
    const order = Array.from(distance.keys()).sort((a, b) =>
      (distance[a] === distance[b] ? a - b : distance[a] < distance[b] ? -1 : 1));
    let mass = 0, last = 0;
    for (const token of order) {
      mass += probability[token];
      if (mass < p) last++;
      else break;
    }
    const bound = distance[order[Math.min(last, order.length - 1)]], out = scores.slice();
    order.forEach((token, i) => {
      if (i > 0 && distance[token] > bound) out[token] = -Infinity;
    });
    return out;
  },
  // at least the probability epsilon
  epsilon_cutoff(scores, epsilon) {
    return cut(scores, softmax32(scores), epsilon);
  },
  // at least min(epsilon, √epsilon exp(-H))
  eta_cutoff(scores, epsilon) {
    const probability = softmax32(scores);
    return cut(scores, probability, Math.min(epsilon, Math.sqrt(epsilon) * Math.exp(-entropy(probability))));
  },
};

function cut(scores, probability, bound) {
  const best = largest(scores);
  return scores.map((s, i) => (probability[i] < bound && s < best ? -Infinity : s));
}

// Apply the filters whose values aren't neutral, in the library's order.
// scores: Float32Array (V);  ids: the tokens so far;  values: {name: number}
// -> {scores, steps: [{name, value, before, after, removed, kept: numbers of tokens, mass: the probability that
//     the kept ones had before}]}
export function apply(scores, ids, values) {
  const steps = [];
  for (const {name, off} of FILTERS) {
    const value = values[name];
    if (value === undefined || value === null || value === off) continue;
    const before = scores, p = softmax(before);
    scores = formulas[name](before, value, ids);
    let kept = 0, removed = 0, mass = 0;
    for (let i = 0; i < scores.length; i++) {
      if (scores[i] > -Infinity) {
        kept++;
        mass += p[i];
      } else if (before[i] > -Infinity) removed++;
    }
    steps.push({name, value, before, after: scores, removed, kept, mass});
  }
  return {scores, steps};
}

// The likeliest tokens that a step removed
export function likeliestRemoved({before, after}, k) {
  return highest(before.map((s, i) => (after[i] === -Infinity ? s : -Infinity)), k).filter(i => before[i] > -Infinity && after[i] === -Infinity);
}

// The token that a uniform number u from 0 to 1 falls on: as sampling.sample chooses it; -1: none is left
export function draw(scores, u) {
  const tokens = [];
  scores.forEach((s, i) => s > -Infinity && tokens.push(i));
  if (!tokens.length) return -1;
  const ends = softmax(Float64Array.from(tokens, i => scores[i]));
  for (let i = 1; i < ends.length; i++) ends[i] += ends[i - 1];
  const at = u * ends[ends.length - 1];
  const found = ends.findIndex(end => end > at);
  return tokens[found < 0 ? tokens.length - 1 : found];
}

// {name: value} of the controls -> the options of the library's generate
export function asOptions(values) {
  return Object.fromEntries(FILTERS.map(({name, off, none}) => {
    const value = values[name] ?? off;
    return [name, none && value === off ? null : value];
  }));
}
