// The rate of f32 multiply-adds with every operand in a register: 12 independent chains a lane, 96 links a turn of the loop.
// Scalars, not vectors or an array: CPU adapters run those at half the rate, or from memory; and more chains than 12 spill
// there. A chain tends to offset / (1 - scale), so it never overflows; the sum keeps the compiler from dropping the work.
struct Params { rounds: u32, scale: f32, offset: f32 }

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let scale = params.scale;
  let offset = params.offset;
  let start = f32(id.x);
  var a = start + 0.0; var b = start + 1.0; var c = start + 2.0; var d = start + 3.0;
  var e = start + 4.0; var f = start + 5.0; var g = start + 6.0; var h = start + 7.0;
  var i = start + 8.0; var j = start + 9.0; var k = start + 10.0; var l = start + 11.0;
  for (var round = 0u; round < params.rounds; round++) {
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
    a = fma(a, scale, offset); b = fma(b, scale, offset); c = fma(c, scale, offset); d = fma(d, scale, offset);
    e = fma(e, scale, offset); f = fma(f, scale, offset); g = fma(g, scale, offset); h = fma(h, scale, offset);
    i = fma(i, scale, offset); j = fma(j, scale, offset); k = fma(k, scale, offset); l = fma(l, scale, offset);
  }
  let sum = a + b + c + d + e + f + g + h + i + j + k + l;
  if (id.x < arrayLength(&result)) { result[id.x] = sum; }
}
