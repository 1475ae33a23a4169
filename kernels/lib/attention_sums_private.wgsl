// The sums behind each output, in the lane's registers. Starts at zero.
var<private> sums: array<array<array<vec4f, CHUNKS>, ROWS>, OUTPUTS>;
fn get_sum(side: u32, r: u32, c: u32, lane: u32) -> vec4f { return sums[side][r][c]; }
fn set_sum(side: u32, r: u32, c: u32, lane: u32, sum: vec4f) { sums[side][r][c] = sum; }
