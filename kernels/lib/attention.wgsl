// What all attention kernels share: where rows lie, which keys a query sees, and what softmax leaves for the gradients.
// A row is one token's head_dim numbers, taken in chunks of 4; rows lie as [sample, head, token], [sample, token, head] or
// [token, sample, head].
// The variant gives alias V (one load), const CHUNKS (the most there are; all of them with EXACT), and lib/attention_vec4.wgsl
// or _vec1.wgsl, which load and store chunks.
#include "lib/index.wgsl"
#include "lib/special.wgsl"

alias F = f32;  // what lib/special.wgsl works on
alias U = u32;

struct Params {
  head_dim: u32,
  heads: u32,
  queries: u32,
  keys: u32,
  blocks: u32,  // workgroups for one head of one sample
  workgroups: u32,
  causal: u32,  // 1: query i sees keys 0 to i
  token_step: u32,  // rows from one token of a head to the next
  tokens_in_sample: u32, tokens_in_head: u32,  // 1: all tokens of a sample, of a head, come before those of the next
  scale: f32,
  bias_batch: u32, bias_head: u32, bias_query: u32,  // the bias' strides, 0 along an axis where it repeats
}

alias Rows = array<V>;

// The softmax of one query row's scores.
struct Softmax {
  maximum: f32,
  inverse_sum: f32,  // 1 / sum of exp(score - maximum)
}

// What the gradients need to know of one query row.
struct Statistics {
  maximum: f32,
  inverse_sum: f32,
  delta: f32,  // sum of dy * output
}

struct Tile {
  start: u32,  // row in the buffer of this head's row 0
  first: u32,  // first row of the tile, in the head
  last: u32,   // last row of the head: a tile that ends later repeats it
  lane: u32,
}

// Row in a buffer of a head's row 0; `head` counts over samples and heads.
fn head_start(head: u32, tokens: u32) -> u32 {
  let in_sample = head % params.heads;
  return (head - in_sample) * select(1u, tokens, params.tokens_in_sample == 1u)
    + in_sample * select(1u, tokens, params.tokens_in_head == 1u);
}

fn tile_row(tile: Tile, j: u32) -> u32 { return tile.start + min(tile.first + j, tile.last) * params.token_step; }

// The number of keys, from the first, that a query row sees.
fn visible_keys(row: u32) -> u32 { return select(params.keys, min(params.keys, row + 1u), params.causal == 1u); }

// Where a row's maximum starts: a row whose every score is f32's lowest number, as masks hold it, weighs all of them alike.
const LOWEST = -3.4028234663852886e38;

// exp(x) for x <= 0, NaN of NaN, which clamp would lose. Below -100 it is no more than 4e-44: large negative biases need no infinity.
fn weight(x: f32) -> f32 { return nan_else(x, exp(clamp(x, -100.0, 0.0))); }

// The sum of a row's weights, 1 at its maximum and more in all; NaN where nothing but -infinity was seen.
fn checked_total(total: f32) -> f32 { return select(total, nan(), total < 0.5); }

// Where this head's part of the bias starts; `head` counts over samples and heads.
fn bias_start(head: u32) -> u32 {
  return (head / params.heads) * params.bias_batch + (head % params.heads) * params.bias_head;
}
