// The sums behind each output, in workgroup memory, each lane in its own place, from zero. On a software adapter an index
// that is no constant costs a gather and a scatter in private memory; this saves an eighth of each kernel's time.
var<workgroup> sums: array<array<array<array<vec4f, WORKGROUP>, CHUNKS>, ROWS>, OUTPUTS>;
fn get_sum(side: u32, r: u32, c: u32, lane: u32) -> vec4f { return sums[side][r][c][lane]; }
fn set_sum(side: u32, r: u32, c: u32, lane: u32, sum: vec4f) { sums[side][r][c][lane] = sum; }
